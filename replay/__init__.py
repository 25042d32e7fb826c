"""Tools for recorded frames: select, re-inspect, archive, analyse and export them. They read and explain the past.

In a notebook:

>>> from replay import Selection, Source, frames
>>> from schemas import KafkaSettings
>>> rows = frames(Source(KafkaSettings()), Selection(lots=("L7",)))  # nothing is read yet

and then ``rows.to_pandas()``, ``rows.to_arrow()`` or ``rows.batches()``; `run_rows` returns the rows of a run of
``inspection replay --out``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transport.lazy_names import lazy_names

if TYPE_CHECKING:
    from monitoring.quality.label_index import LabelIndex
    from replay.analysis import Analysis, Comparison, analyse, compare
    from replay.analysis.table import Table, build_table
    from replay.archive import Archive
    from replay.export import Rows, export_coco, export_folder, frames, run_rows, write_rows
    from replay.past.reads import recorded_frames
    from replay.past.replayed_frame import ReplayedFrame
    from replay.past.resolved_selection import EmptySelection, ResolvedSelection
    from replay.past.selection import Selection
    from replay.past.source import Source
    from replay.reinspect.run_folder import RunFolder
    from transport.range_reader import read_topic
    from transport.stored_message import MessagePosition, StoredMessage
    from transport.topic_ranges import TimeRange, TopicMessage

#: Names of each module. A module is imported on first use, so that a reader of a topic does not load plotting code.
_NAMES = {
    "replay.analysis": ("Analysis", "Comparison", "analyse", "compare"),
    "replay.archive": ("Archive",),
    "replay.export": ("Rows", "export_coco", "export_folder", "frames", "run_rows", "write_rows"),
    "replay.reinspect.run_folder": ("RunFolder",),
    "replay.past.replayed_frame": ("ReplayedFrame",),
    "replay.past.selection": ("Selection",),
    "replay.past.source": ("Source",),
    "replay.past.reads": ("recorded_frames",),
    "replay.past.resolved_selection": ("EmptySelection", "ResolvedSelection"),
    "replay.analysis.table": ("Table", "build_table"),
    "monitoring.quality.label_index": ("LabelIndex",),
    "transport.range_reader": ("read_topic",),
    "transport.stored_message": ("MessagePosition", "StoredMessage"),
    "transport.topic_ranges": ("TopicMessage", "TimeRange"),
}

__all__ = [
    "Analysis",
    "Archive",
    "Comparison",
    "EmptySelection",
    "LabelIndex",
    "MessagePosition",
    "ReplayedFrame",
    "ResolvedSelection",
    "Rows",
    "RunFolder",
    "Selection",
    "Source",
    "StoredMessage",
    "Table",
    "TimeRange",
    "TopicMessage",
    "analyse",
    "build_table",
    "compare",
    "export_coco",
    "export_folder",
    "frames",
    "read_topic",
    "recorded_frames",
    "run_rows",
    "write_rows",
]

__getattr__ = lazy_names(__name__, _NAMES)
