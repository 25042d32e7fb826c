"""What counts as reproduced, what as a difference, and what says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replay.reinspect.reproduce import Likeness, compare
from schemas.records import Action, Decision, Defect, ResultState, Verdict
from tests.support.gate_records import make_decision

THEN = make_decision(
    labels={"a": 0.1, "b": 0.2}, signals={"score": 0.0}, defects=(Defect("x", 0.5, (1.0, 2.0, 3.0, 4.0)),),
    durations_ms={"queue": 1.0}, attributes={"k": "1"}, deadline_at_us=5,
)  # fmt: skip
OTHER: dict[str, object] = {
    "verdict": Verdict.NOT_OK, "action": Action.REVIEW, "score": 0.25000000000000006, "signals": {"score": -0.0},
    "labels": {"b": 0.2, "a": 0.1}, "defects": (), "attributes": {}, "reason": "", "result_state": ResultState.FAILED,
    "decision_id": "other", "deadline_at_us": None, "is_simulated": True, "model_stage": "x", "is_partial": True,
    "source_offset": 9, "part_id": None, "threshold": 0.1, "model_name": "n", "model_version": "9", "lot": "",
    "image_sha256": "", "sequence": 8, "captured_at_us": 3, "line": "z", "started_at_us": 4, "frame_id": "g",
    "station": "t", "camera_id": "d", "source_topic": "u", "source_partition": 2,
}  # fmt: skip


def test_times_alone_are_no_difference() -> None:
    later = replace(THEN, received_at_us=7, decided_at_us=8, durations_ms={"decode": 3.0}, is_late=True)
    assert compare(THEN, later) is None
    assert compare(replace(THEN, score=float("nan")), replace(later, score=float("nan"))) is None


@pytest.mark.parametrize("name", OTHER)
def test_any_other_field_is_one(name: str) -> None:
    found = compare(THEN, replace(THEN, **{name: OTHER[name]}))
    assert found is not None
    assert (found.kind, set(found.fields)) == (Likeness.DIFFERENT, {name})
    assert [repr(value) for value in found.fields[name]] == [repr(getattr(THEN, name)), repr(OTHER[name])]


def test_every_field_is_in_the_test() -> None:
    times = {"received_at_us", "decided_at_us", "durations_ms", "is_late"}
    identity = {"model_sha256", "recipe_id", "recipe_revision"}
    assert set(OTHER) | times | identity == set(Decision.__slots__)


FAILED = {"result_state": ResultState.FAILED, "score": None}


@pytest.mark.parametrize(
    ("then", "now", "kind"),
    [
        ({"model_sha256": "x"}, {}, Likeness.OTHER_MODEL),
        ({"recipe_revision": "x"}, {}, Likeness.OTHER_MODEL),
        ({"recipe_id": "x", "result_state": ResultState.ABORTED}, {}, Likeness.OTHER_MODEL),
        ({"result_state": ResultState.ABORTED, "reason": "shed (deadline): late"}, {}, Likeness.NOT_INSPECTED_THEN),
        ({**FAILED, "reason": "image-store-unavailable: away"}, {}, Likeness.NOT_INSPECTED_THEN),
        ({**FAILED, "reason": "image-missing: gone"}, {}, Likeness.NOT_INSPECTED_THEN),
        ({}, {**FAILED, "reason": "image-missing: gone"}, Likeness.NOT_INSPECTED_NOW),
        ({**FAILED, "reason": "unreadable-image: x"}, {}, Likeness.DIFFERENT),
        ({}, {**FAILED, "reason": "unreadable-image: x"}, Likeness.DIFFERENT),
        # A store's word in the reason of an inspection excuses nothing.
        ({"reason": "image-missing: gone"}, {}, Likeness.DIFFERENT),
    ],
)
def test_what_the_moment_decided_is_told_apart(then: dict, now: dict, kind: Likeness) -> None:  # type: ignore[type-arg]
    found = compare(replace(THEN, **then), replace(THEN, **now))
    assert found is not None
    assert found.kind is kind
    nothing = compare(None, THEN)
    assert nothing is not None
    assert nothing.kind is Likeness.NO_DECISION
