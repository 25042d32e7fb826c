"""Decisions, frames and parts for the tests of the gate."""

from __future__ import annotations

import time
from typing import Any

from actuators import ExpectedPart
from schemas import Action, Decision, Encoding, Frame, ResultState, Verdict
from schemas.ids import decision_id, frame_id


def now_us() -> int:
    return time.time_ns() // 1000


def make_decision(part: str = "p1", action: Action = Action.ACCEPT, **changes: Any) -> Decision:
    """A decision on part; its id follows from part, camera, ``model`` and result, as in life."""
    model = changes.pop("model", "m1")
    camera = changes.get("camera_id", "cam")
    frame = frame_id("s", camera, 1, 1) + part
    values: dict[str, Any] = dict(
        decision_id=decision_id(frame, "aa", model, "1", changes.get("result_state", ResultState.COMPLETED)),
        frame_id=frame,
        line="l",
        station="s",
        camera_id="cam",
        part_id=part,
        started_at_us=1,
        sequence=1,
        image_sha256="aa",
        verdict=Verdict.OK if action is Action.ACCEPT else Verdict.NOT_OK,
        action=action,
        result_state=ResultState.COMPLETED,
        reason="r",
        score=0.25,
        model_name="m",
        model_version="1",
        model_sha256=model,
        recipe_id="r",
        recipe_revision="1",
        captured_at_us=0,
        received_at_us=0,
        decided_at_us=0,
        source_topic="t",
        source_partition=0,
        source_offset=0,
    )
    return Decision(**{**values, **changes})


def make_frame(part: str = "p1", **changes: Any) -> Frame:
    values: dict[str, Any] = dict(
        frame_id=frame_id("s", "cam", 1, 1) + part,
        line="l",
        station="s",
        camera_id="cam",
        part_id=part,
        started_at_us=1,
        sequence=1,
        captured_at_us=0,
        encoding=Encoding.JPEG,
        width=1,
        height=1,
        sha256="aa",
        image=b"x",
    )
    return Frame(**{**values, **changes})


def make_part(
    part: str = "p1", *, act_at_s: float = 0.8, decide_by_s: float = 0.5, captured_at_us: int = 0, camera: str = "cam"
) -> ExpectedPart:
    return ExpectedPart(
        part_key=part,
        station="s",
        camera_id=camera,
        captured_at_us=captured_at_us,
        act_at_s=act_at_s,
        decide_by_s=decide_by_s,
    )
