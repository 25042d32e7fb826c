"""One instruction for one part: several views, texts that are not part ids, and ids that any writer can send."""

from __future__ import annotations

import dataclasses
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actuators import (
    DecisionConsumer,
    ExpectedPart,
    GateSettings,
    Instruction,
    InstructionReason,
    OfferResult,
    PartTracker,
)
from actuators.metrics import GateMetrics
from schemas import Action, Decision, KafkaSettings, ResultState, Verdict
from schemas.clock import ManualClock
from tests.support.gate_records import make_decision, make_frame, make_part
from tests.support.gates import SteppedGate

SEVERAL_VIEWS, DECIDED = InstructionReason.SEVERAL_VIEWS, InstructionReason.DECIDED
ACCEPT, REJECT, REVIEW = Action.ACCEPT, Action.REJECT, Action.REVIEW
MS = 1_000


def trigger(frame: str | None, at_ms: int = 0, camera: str = "cam", part: str = "p1") -> ExpectedPart:
    at_s = at_ms / 1e3
    expected = make_part(part, camera=camera, captured_at_us=at_ms * MS, act_at_s=0.8 + at_s, decide_by_s=0.5 + at_s)
    return dataclasses.replace(expected, frame_id=frame)


def decide(
    frame: str, action: Action = ACCEPT, at_ms: int = 0, camera: str = "cam", part: str | None = "p1", **more: object
) -> Decision:
    values = {"frame_id": frame, "captured_at_us": at_ms * MS, "camera_id": camera, "decision_id": f"id-{frame}"}
    return make_decision(part or "", action, **{"part_id": part, **values, **more})


#: name: triggers and decisions in their order; action and why of the one instruction.
VIEWS: dict[str, tuple[list[ExpectedPart | Decision], Action, InstructionReason]] = {
    "one": ([trigger("a"), decide("a")], ACCEPT, DECIDED),
    "one, triggered twice": ([trigger("a"), trigger("a"), decide("a")], ACCEPT, DECIDED),
    "one, by barrier and frame": ([trigger(None), trigger("a", 3), decide("a", at_ms=3)], ACCEPT, DECIDED),
    "a barrier that bounces": ([trigger(None), trigger(None, 2), decide("a")], ACCEPT, DECIDED),
    "two shots, the second undecided": ([trigger("a"), trigger("b", 100), decide("a")], REJECT, SEVERAL_VIEWS),
    "two shots, 1 ms apart": ([trigger("a"), trigger("b", 1), decide("a")], REJECT, SEVERAL_VIEWS),
    "two shots of one moment": ([trigger("a"), trigger("b"), decide("a")], REJECT, SEVERAL_VIEWS),
    "the second after the decision": ([trigger("a"), decide("a"), trigger("b", 100)], REJECT, SEVERAL_VIEWS),
    "two barriers' captures": ([trigger(None), trigger(None, 100), decide("a")], REJECT, SEVERAL_VIEWS),
    "two shots, both accepted": (
        [trigger("a"), trigger("b", 100), decide("a"), decide("b", at_ms=100)], REJECT, SEVERAL_VIEWS,
    ),
    "two readers of one code": (
        [trigger("a", part="p1\r"), trigger("b", camera="low", part="\x02p1"), decide("a", part="p1\r")],
        REJECT, SEVERAL_VIEWS,
    ),
    "two cameras": (
        [trigger("a"), trigger("b", camera="low"), decide("a"), decide("b", camera="low")], REJECT, SEVERAL_VIEWS,
    ),
    "an untriggered view": ([trigger("a"), decide("a"), decide("b", at_ms=100)], REJECT, SEVERAL_VIEWS),
    "views before any trigger": ([decide("a"), decide("b", at_ms=100), trigger("a")], REJECT, SEVERAL_VIEWS),
    "a refused view": (
        [trigger("a"), decide("a"), decide("b", camera="low", is_partial=True)], REJECT, SEVERAL_VIEWS,
    ),
    "a refused view first": (
        [trigger("a"), decide("b", camera="low", result_state=ResultState.ABORTED), decide("a")],
        REJECT, SEVERAL_VIEWS,
    ),
    "a refused view before any trigger": (
        [decide("b", camera="low", verdict=Verdict.NOT_DECIDABLE), trigger("a"), decide("a")],
        REJECT, SEVERAL_VIEWS,
    ),
    "a decision on a far capture": (
        [trigger("a"), decide("a"), decide("b", at_ms=2_500, camera="low")], REJECT, SEVERAL_VIEWS,
    ),
    "a far capture of the same camera, of a barrier": (
        [trigger(None), decide("b", at_ms=2_500)], REJECT, SEVERAL_VIEWS,
    ),
    "a far capture of the same frame": ([trigger("a"), decide("a", at_ms=2_500)], REJECT, SEVERAL_VIEWS),
    "a far capture before any trigger": (
        [decide("b", at_ms=2_500, camera="low"), trigger("a"), decide("a")], REJECT, SEVERAL_VIEWS,
    ),
    "a shot 3 s later on a long belt": ([trigger("a"), decide("a"), trigger("b", 3_000)], REJECT, SEVERAL_VIEWS),
}  # fmt: skip


@pytest.mark.parametrize("failsafe", [REJECT, REVIEW])
@pytest.mark.parametrize("name", VIEWS)
def test_a_part_is_not_accepted_on_half_the_evidence(name: str, failsafe: Action) -> None:
    steps, action, why = VIEWS[name]
    tracker = PartTracker(ManualClock(), failsafe=failsafe)
    for step in steps:
        if isinstance(step, Decision):
            tracker.offer(step)
        else:
            tracker.expect(step)
    [instruction] = tracker.due(10)
    assert (instruction.action, instruction.reason) == (
        failsafe if why is SEVERAL_VIEWS else action,
        why,
    )
    assert tracker.due(1e9) == []
    assert tracker.counts.several_views == (why is SEVERAL_VIEWS) == tracker.counts.further_views


@pytest.mark.parametrize("camera", ["cam", "low"])
def test_a_far_view_that_says_reject_rejects(camera: str) -> None:
    tracker = PartTracker(ManualClock(), failsafe=REVIEW)
    tracker.expect(trigger("a"))
    assert tracker.offer(decide("a")) is OfferResult.ARMED
    for _ in range(3):
        tracker.offer(decide("b", REJECT, 2_500, camera))
    assert [(i.action, i.reason) for i in tracker.due(10)] == [(REJECT, SEVERAL_VIEWS)]
    assert tracker.counts.further_views == 1


@pytest.mark.parametrize("first", ["top", "bottom"])
def test_two_cameras_that_contradict_reject_once_whatever_the_failsafe(first: str) -> None:
    tracker = PartTracker(ManualClock(), failsafe=REVIEW)
    second = {"top": "bottom", "bottom": "top"}[first]
    says = {"top": REJECT, "bottom": ACCEPT}
    for camera in (first, second):
        tracker.expect(trigger(camera, camera=camera))
    for camera in (first, second):
        tracker.offer(decide(camera, says[camera], camera=camera))
    assert [(i.action, i.reason) for i in tracker.due(1)] == [(REJECT, SEVERAL_VIEWS)]


def test_what_comes_after_the_act_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    tracker = PartTracker(ManualClock())
    tracker.expect(trigger("a"))
    tracker.offer(decide("a"))
    assert [i.action for i in tracker.due(1)] == [ACCEPT]
    assert not tracker.expect(trigger("b", 100))
    assert tracker.offer(decide("b", REJECT, 100)) is OfferResult.LATE
    assert tracker.due(1e9) == []
    counts = tracker.counts
    assert (counts.late_views, counts.late_contradictions, counts.several_views) == (1, 1, 0)
    assert "was accepted, and now a decision says REJECT" in caplog.text


def test_a_part_that_comes_back_for_rework_is_a_new_passage() -> None:
    clock = ManualClock()
    tracker = PartTracker(clock)
    tracker.expect(trigger("a"))
    tracker.offer(decide("a", REJECT))
    assert [i.action for i in tracker.due(1)] == [REJECT]
    clock.advance(60)
    assert tracker.expect(trigger("b", 60_000))
    tracker.offer(decide("b", at_ms=60_000))
    assert [(i.action, i.reason) for i in tracker.due(61)] == [(ACCEPT, DECIDED)]


def test_it_is_said_once_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    gate = SteppedGate(ManualClock(utc_us=10**15), GateSettings(belt_ms=100, fault_after=0))
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            captured = gate.clock.utc_us()
            gate.expect(f"p{number}", captured, frame="a")
            gate.expect(f"p{number}", captured, camera="low", frame="b")
            gate.advance(0.2)
    assert caplog.text.count("is seen more than once") == 1
    metrics = GateMetrics(lambda: gate.runner.stats).registry
    assert metrics.get_sample_value("inspection_gate_parts_total", {"why": "several-views"}) == 3
    assert metrics.get_sample_value("inspection_gate_further_views_total", {"when": "on-belt"}) == 3
    assert [i.reason for _, i in gate.acts] == [SEVERAL_VIEWS] * 3


def test_a_trigger_behind_the_decision_of_its_view_is_not_repeated() -> None:
    tracker = PartTracker(ManualClock())
    tracker.expect(trigger("top"))
    tracker.offer(decide("low", camera="other"))
    for repeated in (0, 1):
        assert not tracker.expect(trigger("low", camera="other"))
        assert tracker.counts.repeated_triggers == repeated


@pytest.mark.parametrize(
    "text",
    [
        "NOREAD",
        "noread\r\n",
        "\x02NOREAD\x03",
        "\uff2e\uff4f\uff32\uff25\uff21\uff24",
        "",
        "  ",
        "\x00\u200b",
        "0000",
        "ERROR",
    ],
)
@pytest.mark.parametrize("has_frames", [True, False])
def test_a_text_that_is_no_part_id_goes_by_its_frame(text: str, has_frames: bool) -> None:
    """Send ten parts 200 ms apart, each decided in time; the fifth is bad."""
    clock = ManualClock()
    tracker = PartTracker(clock, no_part_ids=["NoRead", "0000", "ERROR"])
    given: list[Instruction] = []
    for number in range(10):
        at_ms, action = number * 200, REJECT if number == 4 else ACCEPT
        assert tracker.expect(trigger(f"f{number}" if has_frames else None, at_ms, part=text))
        tracker.offer(decide(f"f{number}", action, at_ms, part=text))
        clock.advance(0.2)
        given += tracker.due(clock.monotonic_s())
    given += tracker.due(10)
    assert [i.action for i in given] == [ACCEPT] * 4 + [REJECT] + [ACCEPT] * 5
    assert {i.reason for i in given} == {DECIDED}
    assert len({i.part_key for i in given}) == 10
    assert tracker.counts.repeated_triggers == tracker.counts.further_views == 0


def test_a_text_that_nobody_named_is_several_views_and_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    tracker = PartTracker(clock)
    given: list[Instruction] = []
    for number in range(10):
        tracker.expect(trigger(f"f{number}", number * 200, part="NOREAD"))
        tracker.offer(decide(f"f{number}", ACCEPT, number * 200, part="NOREAD"))
        clock.advance(0.2)
        given += tracker.due(clock.monotonic_s())
    assert {i.reason for i in given} == {SEVERAL_VIEWS}
    counts = tracker.counts
    assert (counts.repeated_triggers, counts.accepted) == (0, 0)
    assert counts.further_views + counts.late_views == 10 - len(given)
    assert "--no-part-id" in caplog.text


def test_frames_carry_their_id_to_the_gate() -> None:
    gate = SteppedGate(ManualClock(utc_us=10**15), GateSettings(belt_ms=100, no_part_ids=("NOREAD",)))
    captured = gate.clock.utc_us()
    for number in range(2):
        assert gate.runner.expect_frame(make_frame("NOREAD", frame_id=f"f{number}", captured_at_us=captured))
        gate.offer(decide(f"f{number}", captured_at_us=captured, part="NOREAD"))
    gate.advance(0.2)
    assert [(i.part_key, i.reason) for _, i in gate.acts] == [
        ("f0", DECIDED),
        ("f1", DECIDED),
    ]


#: Changes of a stranger in a copy of a decision.
CHANGES = [
    {"camera_id": "other"}, {"part_id": "NOBODY"}, {"captured_at_us": 7}, {"station": "t"}, {"frame_id": "f"},
    {"image_sha256": "bb"}, {"line": "z"},
]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: next(iter(changes)))
@pytest.mark.parametrize("stranger_first", [True, False])
def test_a_known_id_hides_no_decision_and_is_a_contradiction(changes: dict[str, object], stranger_first: bool) -> None:
    """Send the id of the true REJECT with another content; another decision says ACCEPT."""
    consumer = DecisionConsumer(KafkaSettings("unused:1"), max_age_s=None)
    true = make_decision("P-77", REJECT)
    strange = dataclasses.replace(true, action=ACCEPT, **changes)
    other = make_decision("P-77", ACCEPT, model="y")
    for said in (true, strange):
        tracker = PartTracker(ManualClock())
        tracker.expect(make_part("P-77"))
        for decision in (strange, other, said) if stranger_first else (other, said, strange):
            if consumer._reason_to_skip(decision) is None:
                tracker.offer(decision)
        consumer = DecisionConsumer(KafkaSettings("unused:1"), max_age_s=None)
        [instruction] = tracker.due(1)
        assert instruction.action is REJECT or said is strange, instruction


def test_the_id_of_the_true_reject_used_for_nobody() -> None:
    consumer = DecisionConsumer(KafkaSettings("unused:1"), max_age_s=None)
    tracker = PartTracker(ManualClock(), failsafe=REVIEW)
    tracker.expect(make_part("P-77"))
    true = make_decision("P-77", REJECT)
    nobody = dataclasses.replace(true, part_id="NOBODY", camera_id="other")
    for decision in (nobody, make_decision("P-77", ACCEPT, model="y"), true, true):
        if consumer._reason_to_skip(decision) is None:
            tracker.offer(decision)
    assert [(i.action, i.reason) for i in tracker.due(1)] == [(REJECT, InstructionReason.CONFLICT)]
    assert tracker.counts.conflicts == 1


def test_an_id_that_is_used_for_two_parts_accepts_neither() -> None:
    tracker = PartTracker(ManualClock())
    for part in ("p1", "p2"):
        tracker.expect(make_part(part))
    one = make_decision("p1")
    tracker.offer(one)
    assert tracker.offer(dataclasses.replace(one, part_id="p2")) is OfferResult.CONFLICT
    assert [(i.action, i.reason) for i in tracker.due(1)] == [(REJECT, InstructionReason.CONFLICT)] * 2


def test_a_flood_of_early_decisions_hides_no_reject() -> None:
    tracker = PartTracker(ManualClock(), max_early=20)
    tracker.offer(make_decision("p1", REJECT))
    for number in range(100):
        tracker.offer(make_decision(f"nobody{number}"))
    tracker.offer(make_decision("p1", ACCEPT, model="y"))
    tracker.expect(make_part("p1"))
    tracker.expect(make_part("nobody99"))
    assert [(i.part_key, i.action) for i in tracker.due(1)] == [("p1", REJECT), ("nobody99", ACCEPT)]


STEP = st.one_of(
    st.tuples(st.just("trigger"), st.integers(0, 2), st.sampled_from(["cam", "low"])),
    st.tuples(st.just("decide"), st.integers(0, 2), st.sampled_from(["cam", "low"]), st.sampled_from(list(Action))),
    st.tuples(st.just("advance"), st.sampled_from([0.05, 0.2, 0.5])),
)


@given(st.lists(STEP, max_size=25), st.sampled_from([REJECT, REVIEW]))
@settings(max_examples=200)
def test_accept_needs_every_view_and_a_passage_has_one_instruction(steps: list[tuple], failsafe: Action) -> None:
    """Send views of one part in any order, all within one passage, with the first trigger at the beginning."""
    clock = ManualClock()
    tracker = PartTracker(clock, failsafe=failsafe)
    tracker.expect(trigger("cam-0"))
    seen, said = {("cam", "cam-0")}, {}
    given: list[Instruction] = []
    for kind, *rest in steps:
        if kind == "advance":
            clock.advance(rest[0])
            given += tracker.due(clock.monotonic_s())
            continue
        number, camera, *action = rest
        frame = f"{camera}-{number}"
        if kind == "trigger":
            assert not tracker.expect(trigger(frame, number * 100, camera))
        else:
            tracker.offer(decide(frame, action[0], number * 100, camera, decision_id=f"{frame}-{action[0]}"))
        if not given:
            seen.add((camera, frame))
            if kind == "decide":
                said.setdefault(frame, set()).add(action[0])
    given += tracker.due(1e9)
    [instruction] = given
    if instruction.action is ACCEPT:
        assert len(seen) == 1
        assert said == {"cam-0": {ACCEPT}}
    elif any(REJECT in actions for actions in said.values()) and len(seen) > 1:
        assert instruction.action is REJECT
