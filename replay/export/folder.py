"""Folder export: images sorted by their truth, and a CSV file that `inspection label --csv` reads.

::

    DIR/labels.csv
    DIR/good/press.top.60a24181e4000.00000011.png          by its label
    DIR/defective/press.top.60a24181e4000.00000012.png
    DIR/unlabelled/press.top.60a24181e4000.00000013.png
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monitoring.quality.label_index import LabelIndex
from monitoring.quality.label_sheet import COLUMNS, FILE, SHOWN
from monitoring.quality.outcome import Truth
from replay.export.pictures import Exported, Picture, Pictures, new_folder
from replay.export.write import iso
from schemas.records import Decision, Frame
from transport.csv_guard import WRITER, guarded
from transport.image_store import ImageStore
from transport.stored_message import StoredMessage

#: Folders of the images; training tools read folders with images of one class each.
FOLDERS = ("good", "defective", "unlabelled")


def export_folder(
    path: Path,
    frames: Iterable[tuple[StoredMessage[Frame], Decision | None]],
    truths: LabelIndex | None = None,
    *,
    store: ImageStore | None = None,
) -> Exported:
    """Write images and a ``labels.csv``; images keep their published bytes.

    A known truth is filled in. ``labelled_at`` and ``labelled_by`` are left empty, so that a person's change is newer
    than the known truth. When the file is read back, rows without a truth are skipped. Memory: see `Pictures`.

    Parameters
    ----------
    path
        Folder that does not exist yet, or is empty.
    frames
        Frames with decisions, as `ResolvedSelection.frames` yields them.

    Raises
    ------
    SettingsError
        If the folder is not empty or cannot be written.
    """
    counts = Exported(path)
    pictures = Pictures(store, counts)
    with new_folder(path) as folder:
        for name in FOLDERS:
            (folder / name).mkdir()
        with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(
                file, [FILE, *COLUMNS, *(name for name in SHOWN if name != "priority")], restval="", **WRITER
            )
            writer.writeheader()
            for found, decision in frames:
                picture = pictures.of(found)
                if picture is None:
                    continue
                frame = picture.frame
                truth = None if truths is None else truths.of_frame(frame.key, frame.frame_id, frame.part_id)
                stored_as = f"{FOLDERS[2] if truth is None else FOLDERS[truth.is_defective]}/{picture.file}"
                (folder / stored_as).write_bytes(picture.data)
                counts.images += 1
                counts.truths += truth is not None
                row = _row(picture, decision, truth) | {FILE: stored_as}
                given = {name: value for name, value in row.items() if value is not None}
                writer.writerow({name: guarded(v) if isinstance(v, str) else v for name, v in given.items()})
    return counts


def _row(picture: Picture, decision: Decision | None, truth: Truth | None) -> dict[str, Any]:
    frame = picture.frame
    row: dict[str, Any] = {
        "frame_id": frame.frame_id, "part_id": frame.part_id, "station": frame.station, "camera_id": frame.camera_id,
        "lot": frame.lot, "captured_at": iso(frame.captured_at_us),
    }  # fmt: skip
    if decision is not None:
        row |= {"action": decision.action.value, "score": decision.score, "threshold": decision.threshold}
    if truth is not None:
        row |= {"truth": "defective" if truth.is_defective else "good", "defect": truth.defect}
        row |= {"sampled_because": "" if truth.sampled_because == "unstated" else truth.sampled_because}
    return row
