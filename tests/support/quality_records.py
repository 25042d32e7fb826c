"""Decisions and labels of one camera for the tests of quality."""

from __future__ import annotations

from typing import Any

from schemas import Action, Decision, Label, ResultState, Verdict
from schemas.ids import decision_id, frame_id

ACTIONS = {Action.ACCEPT: Verdict.OK, Action.REJECT: Verdict.NOT_OK, Action.REVIEW: Verdict.NOT_OK}


def make_decision(number: int, action: Action = Action.ACCEPT, **changes: Any) -> Decision:
    """Of frame ``number``; its id follows from frame and model, as in life."""
    frame = frame_id("s", "c", 1, number)
    model = changes.get("model_sha256", "m1")
    state = changes.get("result_state", ResultState.COMPLETED)
    values: dict[str, Any] = dict(
        decision_id=decision_id(frame, "aa", model, changes.get("recipe_revision", "1"), state.value), frame_id=frame,
        line="l", station="s", camera_id="c", started_at_us=1, sequence=number, image_sha256="aa",
        verdict=ACTIONS[action], action=action, result_state=state, reason="", model_name="m", model_version="1",
        model_sha256=model, recipe_id="r", recipe_revision="1", captured_at_us=1_000_000 * number, received_at_us=0,
        decided_at_us=1_000_000 * number + 50_000, source_topic="t", source_partition=0, source_offset=number,
        part_id=f"P{number}", lot=f"L{number // 10}", score=0.2, threshold=0.5,
    )  # fmt: skip
    return Decision(**{**values, **changes})


def make_label(number: int, truth: Verdict = Verdict.OK, at: int = 100, **changes: Any) -> Label:
    """About frame ``number``."""
    values: dict[str, Any] = dict(
        label_id=f"{number}-{truth.value}-{at}-{changes.get('part_id')}", station="s", camera_id="c",
        frame_id=frame_id("s", "c", 1, number), truth=truth, labelled_at_us=at, labelled_by="ada",
    )  # fmt: skip
    return Label(**{**values, **changes})
