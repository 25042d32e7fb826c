"""Columns of a sheet of labels, which people fill in and exports write."""

from __future__ import annotations

#: Columns of a label.
COLUMNS = (
    "frame_id", "part_id", "station", "camera_id", "truth", "defect", "labelled_at", "labelled_by", "sampled_because",
    "note",
)  # fmt: skip
#: Columns that `inspection review --csv` adds for the person who looks; they are not read.
SHOWN = ("priority", "action", "score", "threshold", "lot", "captured_at")
#: Column that an export of images adds: the path of the image; it is not read.
FILE = "file"
