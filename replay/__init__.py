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
    from monitoring.quality.label_index import Truths
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
    from replay.stretch import EmptySelection, Stretch, decided
    from replay.table import Table, build_table
    from transport.range_reader import TopicMessage, TopicRange, read_topic
    from transport.stored_message import Place, Stored

#: Names of each module. A module is imported on first use, so that a reader of a topic does not load plotting code.
_NAMES = {
    "replay.analysis": ("Analysis", "Comparison", "analyse", "compare"),
    "replay.archive": ("Archive",),
    "replay.audit": ("Audit",),
    "replay.audit_books": ("CameraAudit",),
    "replay.export": ("Rows", "export_coco", "export_folder", "frames", "run_rows", "write_rows"),
    "replay.label_csv": ("labels_from_csv",),
    "replay.labels": ("LabelError", "make_label", "publish_labels"),
    "replay.reinspect.run_folder": ("RunFolder",),
    "replay.replayed": ("ReplayedFrame",),
    "replay.selection": ("Selection",),
    "replay.source": ("Source",),
    "replay.stretch": ("EmptySelection", "Stretch", "decided"),
    "replay.table": ("Table", "build_table"),
    "monitoring.quality.label_index": ("Truths",),
    "transport.range_reader": ("TopicMessage", "TopicRange", "read_topic"),
    "transport.stored_message": ("Place", "Stored"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

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
        module = _MODULES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)
