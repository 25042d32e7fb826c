"""Frames to export, and the rules of COCO."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from schemas import Encoding, Frame

SUFFIX = {Encoding.JPEG: ".jpg", Encoding.PNG: ".png", Encoding.BMP: ".bmp", Encoding.TIFF: ".tiff"}


def image(shade: int, encoding: Encoding = Encoding.PNG) -> bytes:
    done, data = cv2.imencode(SUFFIX[encoding], np.full((30, 40), shade, np.uint8))
    assert done
    return data.tobytes()


def frame(number: int, **changes: Any) -> Frame:
    values: dict[str, Any] = dict(
        frame_id=f"press.top.1.{number:08}", line="l", station="press", camera_id="top", started_at_us=1,
        sequence=number, captured_at_us=1_700_000_000_000_000 + number, encoding=Encoding.PNG, width=40, height=30,
        part_id=f"P{number}", lot="L1", image=image(number),
    )  # fmt: skip
    values |= changes
    values.setdefault("sha256", hashlib.sha256(values["image"] or b"").hexdigest())
    return Frame(**values)


def check_coco(folder: Path) -> dict[str, Any]:
    """COCO's own rules, read from its page: required fields, ids that are unique and refer, boxes inside."""
    data: dict[str, Any] = json.loads((folder / "annotations" / "instances_default.json").read_text("utf-8"))
    assert set(data) == {"info", "licenses", "images", "annotations", "categories"}
    for kind in ("images", "annotations", "categories", "licenses"):
        ids = [row["id"] for row in data[kind]]
        assert all(isinstance(one, int) for one in ids)
        assert len(set(ids)) == len(ids)
    sizes = {}
    for row in data["images"]:
        assert {"id", "width", "height", "file_name", "license", "date_captured"} <= set(row)
        pixels = cv2.imread(str(folder / "images" / row["file_name"]), cv2.IMREAD_UNCHANGED)
        assert pixels.shape[:2] == (row["height"], row["width"])
        assert row["license"] in [licence["id"] for licence in data["licenses"]]
        sizes[row["id"]] = row["width"], row["height"]
    assert sorted(path.name for path in (folder / "images").iterdir()) == sorted(r["file_name"] for r in data["images"])
    for row in data["annotations"]:
        assert set(row) >= {"id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd"}
        assert row["category_id"] in [category["id"] for category in data["categories"]]
        x, y, width, height = row["bbox"]
        assert min(x, y) >= 0
        assert min(width, height) > 0
        assert x + width <= sizes[row["image_id"]][0] + 0.01
        assert y + height <= sizes[row["image_id"]][1] + 0.01
        assert row["area"] == pytest.approx(width * height, abs=0.5)
        assert row["iscrowd"] == 0
    assert data["categories"]
    assert all({"id", "name", "supercategory"} <= set(row) for row in data["categories"])
    return data
