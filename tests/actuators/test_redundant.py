"""Two workers that answer the same frames: whatever the order, the gate does the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actuators import InstructionReason, OfferResult, PartTracker
from schemas import Action, Decision, ResultState, Verdict
from schemas.clock import ManualClock
from tests.support.gate_records import make_decision, make_part

ACCEPT, REJECT, REVIEW = Action.ACCEPT, Action.REJECT, Action.REVIEW
COMPLETED, ABORTED, FAILED = ResultState.COMPLETED, ResultState.ABORTED, ResultState.FAILED

#: Decisions on one frame, as two workers with one or two models make them, and as a stranger might.
DECISIONS = st.builds(
    lambda state, action, model, camera, names_state: make_decision(
        action=action, result_state=state, model=model, camera_id=camera,
        decision_id=f"{state if names_state else ''} {model} {camera}",
        verdict=Verdict.OK if action is ACCEPT else Verdict.NOT_OK if state is COMPLETED else Verdict.NOT_DECIDABLE,
    ),
    st.sampled_from([COMPLETED, COMPLETED, ABORTED, ABORTED, FAILED]),
    st.sampled_from([ACCEPT, ACCEPT, REJECT, REJECT, REVIEW]),
    st.sampled_from(["m1", "m1", "m2"]),
    st.sampled_from(["cam"] * 7 + ["low"]),
    st.sampled_from([True] * 7 + [False]),
)  # fmt: skip


def outcome(decisions: list[Decision], trigger_at: int = 0) -> tuple[Action, InstructionReason]:
    """Offer decisions in time, with the trigger among them; return action and reason."""
    clock = ManualClock()
    tracker = PartTracker(clock, failsafe=REVIEW)
    for number, decision in enumerate([*decisions, None]):
        if number == min(trigger_at, len(decisions)):
            assert tracker.expect(make_part())
        if decision is not None:
            clock.advance(0.01)
            tracker.offer(decision)
    [instruction] = tracker.due(0.8)
    return instruction.action, instruction.reason


def wanted(decisions: list[Decision]) -> tuple[Action, InstructionReason]:
    """The rule, written down once more: it knows of no order."""
    counted = [d for d in decisions if d.action is not ACCEPT or d.result_state is COMPLETED]
    for one in counted:
        for other in counted:
            is_pair = {one.result_state, other.result_state} == {COMPLETED, ABORTED}
            if one.camera_id == other.camera_id and one.action is not other.action and not is_pair:
                return REJECT, InstructionReason.CONFLICT
            if one.decision_id == other.decision_id and one.action is not other.action:
                return REJECT, InstructionReason.CONFLICT
    by_camera = {
        camera: min(
            (d for d in counted if d.camera_id == camera),
            key=lambda d: (COMPLETED, FAILED, ABORTED).index(d.result_state),
            default=None,
        )
        for camera in ("cam", "low")
    }
    actions = [d.action for d in by_camera.values() if d is not None]
    if any(d.camera_id == "low" for d in decisions):
        return REJECT if REJECT in actions else REVIEW, InstructionReason.SEVERAL_VIEWS
    return (actions[0], InstructionReason.DECIDED) if actions else (REVIEW, InstructionReason.FAILSAFE_MISSING)


@given(st.lists(DECISIONS, max_size=6), st.randoms(use_true_random=False), st.integers(0, 6))
@settings(max_examples=500, deadline=None)
def test_any_order_of_arrival_has_the_same_action(decisions: list[Decision], random: object, trigger_at: int) -> None:
    other = list(decisions)
    random.shuffle(other)  # type: ignore[attr-defined]
    assert outcome(decisions) == outcome(other, trigger_at) == wanted(decisions)


@pytest.mark.parametrize("action", [ACCEPT, REVIEW])
def test_after_the_act_a_shed_frame_is_no_contradiction(action: Action) -> None:
    tracker = PartTracker(ManualClock())
    tracker.expect(make_part())
    inspected = make_decision(action=action)
    tracker.offer(inspected)
    assert [each.action for each in tracker.due(0.8)] == [action]
    shed = replace(inspected, decision_id="shed", action=REJECT, result_state=ABORTED)
    assert tracker.offer(shed) is OfferResult.SUPERSEDED
    counts = tracker.counts
    assert (counts.superseded, counts.late, counts.late_contradictions, counts.conflicts) == (1, 0, 0, 0)
    assert tracker.offer(replace(inspected, decision_id="other", action=REJECT, model_sha256="m2")) is OfferResult.LATE
    assert tracker.counts.late_contradictions == (action is ACCEPT)
