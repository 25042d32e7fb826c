"""Exports of recorded data for other tools: Arrow, Parquet and CSV for notebooks, COCO and folders for labelling."""

from replay.export.arrow import to_arrow, to_pandas
from replay.export.coco import export_coco
from replay.export.folder import export_folder
from replay.export.pictures import Exported
from replay.export.rows import Rows, frames, run_rows
from replay.export.write import write_rows

__all__ = [
    "Exported",
    "Rows",
    "export_coco",
    "export_folder",
    "frames",
    "run_rows",
    "to_arrow",
    "to_pandas",
    "write_rows",
]
