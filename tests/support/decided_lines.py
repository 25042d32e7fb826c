"""A line that has decided, and its frames."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from schemas import Encoding, Frame, KafkaSettings

CAMERAS = ("top", "left", "right")
FRAMES = 60


@dataclass(frozen=True)
class Decided:
    """The line, and how many frames of each kind it was given."""

    kafka: KafkaSettings
    readable: int
    unreadable: int


def make_frame(sequence: int, image: bytes, **changes: object) -> Frame:
    camera, at_us = CAMERAS[sequence % 3], time.time_ns() // 1000 + sequence * 1000
    values = {
        "frame_id": f"press.{camera}.1.{sequence:08d}", "line": "l", "station": "press", "camera_id": camera,
        "started_at_us": 1, "sequence": sequence, "captured_at_us": at_us, "part_id": f"P{sequence // 3}", "lot": "L1",
        "encoding": Encoding.PNG, "width": 300, "height": 300, "sha256": hashlib.sha256(image).hexdigest(),
        "image": image, "attributes": {"label": "good", "z": "1", "a": "2"},
    }  # fmt: skip
    return Frame(**{**values, **changes})  # type: ignore[arg-type]
