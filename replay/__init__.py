"""Tools for recorded frames: select, re-inspect, archive, analyse, audit and label them.

In a notebook:

>>> from replay import Selection, Source, frames
>>> from schemas import KafkaSettings
>>> rows = frames(Source(KafkaSettings()), Selection(lots=("L7",)))  # nothing is read yet

and then ``rows.to_pandas()``, ``rows.to_arrow()`` or ``rows.batches()``; `run_rows` returns the rows of a run of
``inspection replay --out``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replay.analysis import Analysis, Comparison, analyse, compare
    from replay.archive import Archive
    from replay.audit import Audit
    from replay.audit_books import CameraAudit
    from replay.export import Rows, export_coco, export_folder, frames, run_rows, write_rows
    from replay.label_csv import labels_from_csv
    from replay.labels import LabelError, make_label, publish_labels
    from replay.reinspect.run_folder import RunFolder
    from replay.replayed import ReplayedFrame
    from replay.selection import Selection
    from replay.source import Source
    from replay.stored import Place, Stored
    from replay.stretch import EmptySelection, Stretch, decided
    from replay.table import Table, build_table
    from replay.topic_reader import TopicMessage, TopicRange, read_topic
    from replay.truths import Truths

#: Module of each name. A module is imported on first use, so that a reader of a topic does not load plotting code.
_PLACES = {
    "Analysis": "analysis", "Archive": "archive", "Audit": "audit", "CameraAudit": "audit_books",
    "Comparison": "analysis", "EmptySelection": "stretch", "LabelError": "labels", "Place": "stored",
    "ReplayedFrame": "replayed", "Rows": "export", "RunFolder": "reinspect.run_folder", "Selection": "selection",
    "Source": "source", "Stored": "stored", "Stretch": "stretch", "Table": "table", "TopicMessage": "topic_reader",
    "TopicRange": "topic_reader", "Truths": "truths", "analyse": "analysis", "build_table": "table",
    "compare": "analysis", "decided": "stretch", "export_coco": "export", "export_folder": "export",
    "frames": "export", "labels_from_csv": "label_csv", "make_label": "labels", "publish_labels": "labels",
    "read_topic": "topic_reader", "run_rows": "export", "write_rows": "export",
}  # fmt: skip

__all__ = [
    "Analysis",
    "Archive",
    "Audit",
    "CameraAudit",
    "Comparison",
    "EmptySelection",
    "LabelError",
    "Place",
    "ReplayedFrame",
    "Rows",
    "RunFolder",
    "Selection",
    "Source",
    "Stored",
    "Stretch",
    "Table",
    "TopicMessage",
    "TopicRange",
    "Truths",
    "analyse",
    "build_table",
    "compare",
    "decided",
    "export_coco",
    "export_folder",
    "frames",
    "labels_from_csv",
    "make_label",
    "publish_labels",
    "read_topic",
    "run_rows",
    "write_rows",
]


def __getattr__(name: str) -> Any:
    try:
        place = _PLACES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(f"{__name__}.{place}"), name)
