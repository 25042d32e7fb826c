"""Frames of a press: a real image of a solar cell."""

from __future__ import annotations

import hashlib

import cv2

from models.datasets.elpv import load_cells
from schemas import Encoding, Frame
from schemas.ids import frame_id

#: A solar cell, 300 x 300.
JPEG = cv2.imencode(".jpg", cv2.imread(str(load_cells("test")[0].path), cv2.IMREAD_GRAYSCALE))[1].tobytes()
SHA256 = hashlib.sha256(JPEG).hexdigest()


def make_frame(
    sequence: int = 0, *, captured_at_us: int = 0, deadline_ms: int | None = 500, camera: str = "c"
) -> Frame:
    return Frame(
        frame_id=frame_id("press", camera, 1, sequence), line="l", station="press", camera_id=camera, started_at_us=1,
        sequence=sequence, captured_at_us=captured_at_us, deadline_ms=deadline_ms, encoding=Encoding.JPEG, width=300,
        height=300, sha256=SHA256, image=JPEG,
    )  # fmt: skip
