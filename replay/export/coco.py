"""COCO export: images, boxes and categories in the form that labelling tools share.

The JSON file follows "Data format" of cocodataset.org (T.-Y. Lin et al., "Microsoft COCO: Common objects in context",
ECCV 2014). The folder has the layout that Datumaro and CVAT expect, with scores and attributes in their places.

::

    DIR/images/press.top.60a24181e4000.00000012.png
    DIR/annotations/instances_default.json
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from monitoring.quality.label_index import LabelIndex
from monitoring.quality.outcome import Truth
from replay.export.pictures import Exported, Picture, Pictures, new_folder
from replay.export.write import iso
from schemas.records import Decision, Defect, Frame
from transport.image_store import ImageStore
from transport.stored_message import StoredMessage

#: The only category of an export without any defect: tools refuse a file without categories.
DEFECT = "defect"


def export_coco(
    path: Path,
    frames: Iterable[tuple[StoredMessage[Frame], Decision | None]],
    truths: LabelIndex | None = None,
    *,
    store: ImageStore | None = None,
    boxes: bool = True,
) -> Exported:
    """Write frames and the defects found on them as a COCO data set; images keep their published bytes.

    Each image has COCO's own fields, and attributes with its frame, the decision on it, and its known truth. Memory:
    see `Pictures`.

    Parameters
    ----------
    path
        Folder that does not exist yet, or is empty.
    frames
        Frames with decisions, as `ResolvedSelection.frames` yields them. Pass the decisions of another model to write
        its boxes.
    boxes
        True to write the defects of the decisions, with their scores, for a person to correct. They are the output of a
        model, never the truth.

    Raises
    ------
    SettingsError
        If the folder is not empty or cannot be written.
    """
    counts = Exported(path)
    pictures = Pictures(store, counts)
    with new_folder(path) as folder:
        (folder / "images").mkdir()
        (folder / "annotations").mkdir()
        with (
            (folder / "annotations" / "instances_default.json").open("w", encoding="utf-8") as file,
            tempfile.TemporaryFile("w+", encoding="utf-8") as put_by,
        ):
            file.write('{"info": {"description": "Frames of a visual inspection, with the boxes that a model found"},')
            file.write('\n"licenses": [{"id": 1, "name": "not stated", "url": ""}],\n"images": [')
            categories: dict[str, int] = {}
            for found, decision in frames:
                picture = pictures.of(found)
                if picture is None:
                    continue
                (folder / "images" / picture.file).write_bytes(picture.data)
                truth = None if truths is None else truths.of_frame(
                    picture.frame.key, picture.frame.frame_id, picture.frame.part_id
                )  # fmt: skip
                counts.truths += truth is not None
                counts.images += 1
                _write(file, counts.images, _image(counts.images, found, picture, decision, truth))
                if truth is not None and truth.defect:
                    categories.setdefault(truth.defect, len(categories) + 1)
                for defect in decision.defects if boxes and decision is not None else ():
                    box = _inside(defect, picture)
                    if box is not None:
                        counts.boxes += 1
                        category = categories.setdefault(defect.label or DEFECT, len(categories) + 1)
                        _write(put_by, counts.boxes, _annotation(counts.boxes, counts.images, category, box, defect))
            file.write('],\n"annotations": [')
            put_by.seek(0)
            for line in put_by:
                file.write(line)
            named = categories or {DEFECT: 1}
            rows = [{"id": number, "name": name, "supercategory": DEFECT} for name, number in named.items()]
            file.write(f'],\n"categories": {json.dumps(rows)}}}\n')
    return counts


def _write(file: IO[str], number: int, row: dict[str, Any]) -> None:
    file.write(f"{',' if number > 1 else ''}\n{json.dumps(row, allow_nan=False)}")


def _image(
    number: int, found: StoredMessage[Frame], picture: Picture, decision: Decision | None, truth: Truth | None
) -> dict[str, Any]:
    frame = picture.frame
    attributes: dict[str, Any] = {
        "frame_id": frame.frame_id, "part_id": frame.part_id, "lot": frame.lot, "camera": frame.key,
        "topic": found.position.topic, "partition": found.position.partition, "offset": found.position.offset,
    }  # fmt: skip
    if decision is not None:
        score = decision.score if decision.score is not None and math.isfinite(decision.score) else None
        attributes |= {"verdict": decision.verdict.value, "action": decision.action.value, "score": score}
        attributes |= {"model": f"{decision.model_name} {decision.model_version}"}
    if truth is not None:
        attributes |= {"truth": "defective" if truth.is_defective else "good", "truth_defect": truth.defect}
    return {
        "id": number, "file_name": picture.file, "width": picture.width, "height": picture.height,
        "date_captured": iso(frame.captured_at_us), "license": 1, "coco_url": "", "flickr_url": "",
        "attributes": {name: value for name, value in attributes.items() if value is not None},
    }  # fmt: skip


def _annotation(
    number: int, image: int, category: int, box: tuple[float, float, float, float], defect: Defect
) -> dict[str, Any]:
    return {
        "id": number, "image_id": image, "category_id": category, "bbox": [round(side, 2) for side in box],
        "area": round(box[2] * box[3], 2), "segmentation": [], "iscrowd": 0,
        **({"score": defect.score} if math.isfinite(defect.score) else {}),
    }  # fmt: skip


def _inside(defect: Defect, picture: Picture) -> tuple[float, float, float, float] | None:
    """Return the part of the box within the image; None if no part lies within it, or the box is not finite."""
    x, y, width, height = defect.box_xywh
    if not all(math.isfinite(side) for side in defect.box_xywh):
        return None
    left, right = (min(max(at, 0.0), float(picture.width)) for at in (x, x + width))
    top, bottom = (min(max(at, 0.0), float(picture.height)) for at in (y, y + height))
    return (left, top, right - left, bottom - top) if right - left >= 0.01 and bottom - top >= 0.01 else None
