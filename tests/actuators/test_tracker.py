from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuators import GateFull, OfferResult, PartTracker, schedule
from schemas import Action, Decision, ResultState, Verdict
from schemas.clock import ManualClock
from schemas.errors import SettingsError
from tests.support.gate_records import make_decision, make_part

ACCEPT, REJECT, REVIEW = Action.ACCEPT, Action.REJECT, Action.REVIEW
A = make_decision(action=ACCEPT)
#: What a worker says of a frame that it sheds.
SHED = make_decision(action=REJECT, result_state=ResultState.ABORTED, verdict=Verdict.NOT_DECIDABLE)
FAILSAFE = "failsafe-missing"

#: name: decisions with the moment they arrive (s), what becomes of each, action, why. Decide by 0.5, act at 0.8.
TABLE: dict[str, tuple[list[tuple[float, Decision]], list[str], Action, str]] = {
    "nothing": ([], [], REJECT, "failsafe-missing"),
    "accept": ([(0.1, A)], ["armed"], ACCEPT, "decided"),
    "reject": ([(0.1, make_decision(action=REJECT))], ["armed"], REJECT, "decided"),
    "review": ([(0.1, make_decision(action=REVIEW))], ["armed"], REVIEW, "decided"),
    "at the very deadline": ([(0.5, A)], ["armed"], ACCEPT, "decided"),
    "just late": ([(0.501, A)], ["late"], REJECT, "failsafe-late"),
    "the same again": ([(0.1, A), (0.2, A)], ["armed", "duplicate"], ACCEPT, "decided"),
    "the same again, late": ([(0.1, A), (0.6, A)], ["armed", "duplicate"], ACCEPT, "decided"),
    "another that agrees": (
        [(0.1, A), (0.2, make_decision(action=ACCEPT, model="m2"))],
        ["armed", "duplicate"],
        ACCEPT,
        "decided",
    ),
    "another that contradicts": (
        [(0.1, A), (0.2, make_decision(action=REVIEW, model="m2"))],
        ["armed", "conflict"],
        REJECT,
        "conflict",
    ),
    "contradicted, late, before the act": (
        [(0.1, A), (0.7, make_decision(action=REJECT, model="m2"))],
        ["armed", "conflict"],
        REJECT,
        "conflict",
    ),
    "one id, two actions": ([(0.1, A), (0.2, make_decision(action=REJECT))], ["armed", "conflict"], REJECT, "conflict"),
    "conflict, then agreement": (
        [(0.1, A), (0.2, make_decision(action=REJECT, model="m2")), (0.3, make_decision(action=ACCEPT, model="m3"))],
        ["armed", "conflict", "duplicate"],
        REJECT,
        "conflict",
    ),
    "inspected by one worker, shed by another": ([(0.1, A), (0.2, SHED)], ["armed", "superseded"], ACCEPT, "decided"),
    "shed by one worker, inspected by another": ([(0.1, SHED), (0.2, A)], ["armed", "armed"], ACCEPT, "decided"),
    "shed by another worker, late": ([(0.1, A), (0.7, SHED)], ["armed", "superseded"], ACCEPT, "decided"),
    "inspected, but late": ([(0.1, SHED), (0.7, A)], ["armed", "late"], REJECT, "decided"),
    "shed by both workers": (
        [(0.1, SHED), (0.2, replace(SHED, decision_id="of another model"))],
        ["armed", "duplicate"],
        REJECT,
        "decided",
    ),
    "one id, shed and inspected": (
        [(0.1, replace(SHED, decision_id=A.decision_id)), (0.2, A)],
        ["armed", "conflict"],
        REJECT,
        "conflict",
    ),
    "failed at one worker, inspected by another": (
        [(0.1, make_decision(action=REJECT, result_state=ResultState.FAILED, model="m2")), (0.2, A)],
        ["armed", "conflict"],
        REJECT,
        "conflict",
    ),
    "shed, then two inspections that differ": (
        [(0.1, SHED), (0.2, A), (0.3, make_decision(action=REVIEW, model="m2"))],
        ["armed", "armed", "conflict"],
        REJECT,
        "conflict",
    ),
    "late, twice": ([(0.6, A), (0.7, A)], ["late", "duplicate"], REJECT, "failsafe-late"),
    "simulated": ([(0.1, make_decision(is_simulated=True))], ["refused-simulated"], REJECT, "failsafe-missing"),
    "simulated first, then real": (
        [(0.1, make_decision(is_simulated=True)), (0.2, A)],
        ["refused-simulated", "armed"],
        ACCEPT,
        "decided",
    ),
    "accepted without an inspection": (
        [(0.1, make_decision(result_state=ResultState.ABORTED))],
        ["refused-invalid"],
        REJECT,
        "failsafe-missing",
    ),
    "other camera": ([(0.1, make_decision(camera_id="other"))], ["another-view"], REJECT, "several-views"),
    "a part with a view missing": ([(0.1, make_decision(is_partial=True))], ["refused-invalid"], REJECT, FAILSAFE),
    "other station": ([(0.1, make_decision(station="other"))], ["unknown"], REJECT, "failsafe-missing"),
    "other part": ([(0.1, make_decision("p2"))], ["unknown"], REJECT, "failsafe-missing"),
    "no verdict": ([(0.1, make_decision(verdict=Verdict.NOT_DECIDABLE))], ["refused-invalid"], REJECT, FAILSAFE),
    "of a shadow": ([(0.1, make_decision(model_stage="challenger"))], ["refused-invalid"], REJECT, FAILSAFE),
    "a shadow's other view": (
        [(0.1, A), (0.2, make_decision(action=REJECT, model_stage="challenger", camera_id="low"))],
        ["armed", "refused-invalid"],
        ACCEPT,
        "decided",
    ),
    "a far capture": ([(0.1, make_decision(captured_at_us=-60_000_000))], ["another-view"], REJECT, "several-views"),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_comes_of_a_part(name: str) -> None:
    decisions, outcomes, action, why = TABLE[name]
    clock = ManualClock()
    tracker = PartTracker(clock)
    assert tracker.expect(make_part())
    for moment, decision in decisions:
        clock.advance(moment - clock.monotonic_s())
        assert tracker.due(clock.monotonic_s()) == []
        assert tracker.offer(decision).value == outcomes.pop(0)
    clock.advance(0.8 - clock.monotonic_s() + 1e-6)
    (instruction,) = tracker.due(clock.monotonic_s())
    assert (instruction.action, instruction.reason.value) == (action, why)
    assert tracker.due(1e9) == []
    assert tracker.counts.actuated == 1
    assert tracker.counts.failsafe == why.startswith("failsafe")


def test_after_the_act_nothing_happens_any_more() -> None:
    clock = ManualClock()
    tracker = PartTracker(clock)
    tracker.expect(make_part())
    tracker.offer(A)
    clock.advance(0.8)
    assert len(tracker.due(0.8)) == 1
    assert tracker.offer(A) is OfferResult.DUPLICATE
    assert tracker.offer(make_decision(action=REJECT, model="m2")) is OfferResult.LATE
    assert tracker.due(1e9) == []
    assert (tracker.counts.late, tracker.counts.duplicates, tracker.counts.conflicts) == (1, 1, 0)


def test_a_decision_may_overtake_its_trigger() -> None:
    clock = ManualClock(utc_us=1_000)
    tracker = PartTracker(clock)
    assert tracker.offer(A) is OfferResult.UNKNOWN
    assert tracker.offer(A) is OfferResult.DUPLICATE
    clock.advance(0.3)
    tracker.expect(make_part())
    (instruction,) = tracker.due(0.8)
    assert (instruction.action, instruction.decision_id, instruction.armed_at_us) == (ACCEPT, A.decision_id, 1_000)


def test_early_decisions_that_contradict_reject() -> None:
    tracker = PartTracker(ManualClock())
    tracker.offer(A)
    tracker.offer(make_decision(action=REJECT, model="m2"))
    tracker.expect(make_part())
    assert [i.reason.value for i in tracker.due(1)] == ["conflict"]


def test_an_early_decision_is_not_kept_for_ever() -> None:
    clock = ManualClock()
    tracker = PartTracker(clock, hold_early_s=5)
    tracker.offer(A)
    clock.advance(5.1)
    tracker.expect(make_part(act_at_s=5.8, decide_by_s=5.5))
    assert [i.reason.value for i in tracker.due(6)] == ["failsafe-missing"]


def test_a_part_that_comes_round_again_is_not_armed_by_its_old_answer() -> None:
    clock = ManualClock()
    tracker = PartTracker(clock)
    tracker.expect(make_part())
    clock.advance(60)
    tracker.due(60)
    assert tracker.expect(make_part(act_at_s=60.8, decide_by_s=60.5, captured_at_us=60_000_000))
    assert tracker.offer(A) is OfferResult.LATE
    assert [(i.action, i.reason.value) for i in tracker.due(61)] == [(REJECT, "failsafe-missing")]


def test_a_repeated_trigger_is_one_part() -> None:
    tracker = PartTracker(ManualClock())
    assert tracker.expect(make_part())
    assert not tracker.expect(make_part(captured_at_us=1_000))
    assert len(tracker.due(1)) == 1
    assert not tracker.expect(make_part())
    assert tracker.due(1) == []
    assert tracker.counts.repeated_triggers == 2


def test_failsafe_can_divert_but_never_accept() -> None:
    tracker = PartTracker(ManualClock(), failsafe=REVIEW)
    tracker.expect(make_part())
    assert [i.action for i in tracker.due(1)] == [REVIEW]
    with pytest.raises(SettingsError, match="never accepted"):
        PartTracker(ManualClock(), failsafe=ACCEPT)


def test_failsafes_in_a_row_are_counted_until_a_part_is_decided() -> None:
    tracker = PartTracker(ManualClock())
    for n in range(2):
        tracker.expect(make_part(f"p{n}"))
        tracker.due(1)
    assert tracker.counts.consecutive_failsafe == 2
    tracker.expect(make_part("ok"))
    tracker.offer(make_decision("ok"))
    tracker.due(1)
    assert tracker.counts.consecutive_failsafe == 0


def test_a_full_gate_says_so() -> None:
    tracker = PartTracker(ManualClock(), max_pending=2)
    tracker.expect(make_part("a"))
    tracker.expect(make_part("b"))
    with pytest.raises(GateFull):
        tracker.expect(make_part("c"))
    assert tracker.counts.overflow == 1
    tracker.due(1)
    assert tracker.expect(make_part("c"))


def test_memory_is_bounded() -> None:
    clock = ManualClock()
    tracker = PartTracker(clock, max_acted=50, max_early=20)
    for n in range(1_000):
        tracker.expect(make_part(f"p{n}", act_at_s=clock.monotonic_s() + 0.8, decide_by_s=clock.monotonic_s() + 0.5))
        for model in range(12):
            tracker.offer(make_decision(f"p{n}", model=str(model)))
        tracker.offer(make_decision(f"never{n}"))
        clock.advance(0.1)
        tracker.due(clock.monotonic_s())
    assert tracker.pending <= 9
    assert len(tracker._acted) == 50
    assert len(tracker._passes) <= 59
    assert len(tracker._early) == 20
    assert all(len(p._answers) <= 8 and p.decision is None for p in tracker._acted.values())


@pytest.mark.parametrize("jump_s", [3600, -3600])
@pytest.mark.faults
def test_setting_the_wall_clock_changes_nothing(jump_s: float) -> None:
    clock = ManualClock(utc_us=10**15, monotonic_s=50)
    tracker = PartTracker(clock)
    part = schedule(
        clock,
        part_key="p1",
        station="s",
        camera_id="cam",
        captured_at_us=10**15 - 20_000,
        belt_ms=800,
        decide_by_ms=500,
    )
    tracker.expect(part)
    clock.advance(0.1)
    clock.jump_utc(jump_s)
    assert tracker.offer(make_decision(captured_at_us=10**15 - 20_000)) is OfferResult.ARMED
    clock.advance(0.679)
    assert tracker.due(clock.monotonic_s()) == []
    clock.advance(0.002)
    assert [i.action for i in tracker.due(clock.monotonic_s())] == [ACCEPT]


@pytest.mark.parametrize(("age_ms", "act_in_ms"), [(0, 800), (100, 700), (-3_600_000, 800), (800, 0), (3_600_000, 0)])
def test_age_of_a_trigger_is_kept_within_reason(age_ms: int, act_in_ms: float) -> None:
    clock = ManualClock(utc_us=10**15, monotonic_s=50)
    part = schedule(clock, part_key="p", station="s", camera_id="c", captured_at_us=10**15 - age_ms * 1000, belt_ms=800)
    assert part.act_at_s - 50 == pytest.approx(act_in_ms / 1000)
    assert part.decide_by_s == part.act_at_s


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("expect"), st.integers(0, 4)),
        st.tuples(
            st.just("offer"),
            st.integers(0, 4),
            st.sampled_from(list(Action)),
            st.sampled_from(["m1", "m2", "m3"]),
            st.booleans(),
            st.sampled_from(["cam", "other"]),
        ),
        st.tuples(st.just("advance"), st.sampled_from([0.0, 0.01, 0.2, 0.5, 0.7, 3.0])),
        st.tuples(st.just("jump"), st.sampled_from([-3600, 3600])),
    ),
    max_size=60,
)


@given(STEPS)
@pytest.mark.faults
def test_any_interleaving_gives_each_part_one_safe_instruction(steps: list[tuple]) -> None:
    clock = ManualClock(utc_us=10**15, monotonic_s=7)
    tracker = PartTracker(clock)
    deadlines: dict[str, float] = {}
    expected = 0
    instructions = []
    #: Every real answer by part: when and what.
    heard: dict[str, list[tuple[float, Action]]] = {}
    for kind, *rest in steps:
        if kind == "expect":
            part = f"p{rest[0]}"
            now = clock.monotonic_s()
            is_new = tracker.expect(make_part(part, act_at_s=now + 0.8, decide_by_s=now + 0.5))
            assert is_new == (part not in deadlines)
            if is_new:
                deadlines[part], expected = now + 0.5, expected + 1
        elif kind == "offer":
            number, action, model, simulated, camera = rest
            tracker.offer(make_decision(f"p{number}", action, model=model, is_simulated=simulated, camera_id=camera))
            if not simulated and camera == "cam":
                heard.setdefault(f"p{number}", []).append((clock.monotonic_s(), action))
        elif kind == "advance":
            clock.advance(rest[0])
            instructions += tracker.due(clock.monotonic_s())
        else:
            clock.jump_utc(rest[0])
    clock.advance(10)
    instructions += tracker.due(clock.monotonic_s())
    assert sorted(i.part_key for i in instructions) == sorted(deadlines)
    counts = tracker.counts
    assert counts.actuated == expected == counts.accepted + counts.rejected + counts.review
    assert tracker.pending == 0
    for instruction in instructions:
        if instruction.action is not ACCEPT:
            continue
        answers = heard[instruction.part_key]
        assert any(moment <= deadlines[instruction.part_key] and a is ACCEPT for moment, a in answers)
        # Doubt never accepts: nothing else was said within the time an early answer is kept and before the act.
        opened = deadlines[instruction.part_key] - 0.5
        assert all(a is ACCEPT for moment, a in answers if opened <= moment < opened + 0.8)


def test_a_simulated_gate_takes_the_decisions_of_a_replay_and_those_alone() -> None:
    clock = ManualClock()
    tracker = PartTracker(clock, simulated=True)
    assert tracker.expect(make_part())
    assert tracker.offer(A).value == "refused-simulated"
    assert tracker.offer(make_decision(is_simulated=True)).value == "armed"
    clock.advance(10)
    [instruction] = tracker.due(clock.monotonic_s())
    assert (instruction.action, instruction.reason.value) == (ACCEPT, "decided")
