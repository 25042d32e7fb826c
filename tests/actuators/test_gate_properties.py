"""Whatever happens in whatever order: one instruction a part, at its time, and ACCEPT only on a decision in time."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from actuators import GateSettings, InstructionReason
from schemas import Action, ResultState
from schemas.clock import ManualClock
from tests.support.gate_records import make_decision
from tests.support.gates import SteppedGate

BELT_S, DECIDE_S = 0.8, 0.5
#: Without FAULT most parts pass; with it, after three.
SETTINGS = {
    after: GateSettings(belt_ms=BELT_S * 1e3, decide_by_ms=DECIDE_S * 1e3, fault_after=after) for after in (0, 3)
}
EPSILON_S = 1e-5
ACCEPT = Action.ACCEPT

#: Which part: 0 is the newest, 1 the one before.
WHICH = st.sampled_from([0, 0, 0, 1, 1, 2])
DECIDE = st.tuples(
    st.just("decide"),
    WHICH,
    # ACCEPT is what must be earned: most decisions say so.
    st.sampled_from([ACCEPT, ACCEPT, ACCEPT, Action.REJECT, Action.REVIEW]),
    st.sampled_from([ResultState.COMPLETED] * 3 + [ResultState.ABORTED, ResultState.FAILED]),
    st.sampled_from(["m1", "m1", "m2"]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from(["cam", "cam", "cam", "cam", "other"]),
)
ADVANCE = st.tuples(
    st.just("advance"), st.sampled_from([0.001, 0.02, 0.19, 0.2, 0.29, 0.31, 0.48, 0.5, 0.78, 0.8, 3.0])
)
STEP = st.one_of(
    st.tuples(st.just("capture"), st.booleans()),
    st.tuples(st.just("trigger"), WHICH),
    DECIDE,
    DECIDE,
    ADVANCE,
    ADVANCE,
    st.tuples(st.just("view"), WHICH, st.sampled_from(["cam", "other"])),
    st.tuples(st.just("belt"), st.booleans()),
    st.one_of(
        st.tuples(st.just("jump"), st.sampled_from([-3600, 3600, -0.3, 0.3])),
        st.tuples(st.just("earlier pass")),
        st.tuples(st.just("reset")),
        st.tuples(st.just("kill")),
    ),
)


@dataclass
class Part:
    """What the test knows of a part that the gate need not."""

    captured_at_us: int
    captured_s: float
    triggered_s: float | None = None
    #: A jump of the wall clock since the capture, or within a belt time before it: a restart then
    #: makes its age unknowable.
    jumped: bool = False
    unknowable: bool = False
    #: Real, valid answers that this process was given: when and what. A shed frame contradicts no inspection.
    heard: list[tuple[float, Action]] = field(default_factory=list)
    #: Time at which this process learnt of another view of it, by trigger or decision, or of its id with another part.
    views: list[float] = field(default_factory=list)
    #: Time that the belt was stopped with the part on it, and True if it ever was.
    stood_s: float = 0.0
    has_stood: bool = False


class World:
    """A gate, the parts, and an account of both."""

    def __init__(self, state_dir: Path, fault_after: int) -> None:
        self.settings = SETTINGS[fault_after]
        self.clock = ManualClock(utc_us=10**15, monotonic_s=100.0)
        self.state_dir = state_dir
        self.parts: dict[str, Part] = {}
        self.acted: Counter[str] = Counter()
        self.lost: set[str] = set()
        self.gate = SteppedGate(self.clock, self.settings, state_dir)
        self.checked = 0
        self.jumped_s = -1e9
        self.stands_since_s: float | None = None

    def step(self, kind: str, *rest: object) -> None:
        getattr(self, kind.replace(" ", "_"))(*rest)
        self.check()

    def name(self, which: int) -> str | None:
        number = len(self.parts) - 1 - which
        return f"p{number}" if number >= 0 else None

    def capture(self, is_triggered: bool) -> None:
        now_s = self.clock.monotonic_s()
        part = Part(self.clock.utc_us(), now_s, jumped=now_s - self.jumped_s <= BELT_S)
        self.parts[f"p{len(self.parts)}"] = part
        if is_triggered:
            self.trigger(0)

    def trigger(self, which: int) -> None:
        name = self.name(which)
        if name is None:
            return
        part = self.parts[name]
        is_new = self.gate.expect(name, part.captured_at_us)
        assert is_new == (not self.acted[name] and (part.triggered_s is None or name in self.lost))
        if is_new:
            part.triggered_s = self.clock.monotonic_s()
            part.stood_s, part.has_stood = 0.0, self.stands_since_s is not None
            self.lost.discard(name)
        self.gate.turn()

    def view(self, which: int, camera: str) -> None:
        """Add another frame of a part that is on the belt or has just passed: it gets no separate instruction."""
        name = self.name(which)
        if name is None or self.parts[name].triggered_s is None or name in self.lost:
            return
        part = self.parts[name]
        assert not self.gate.expect(name, part.captured_at_us + 100_000, camera, f"second-{camera}")
        if not self.acted[name]:
            part.views.append(self.clock.monotonic_s())
        self.gate.turn()

    def belt(self, stops: bool) -> None:
        now_s = self.clock.monotonic_s()
        if stops:
            self.gate.runner.belt_stopped()
            self.stands_since_s = now_s if self.stands_since_s is None else self.stands_since_s
        else:
            self.gate.runner.belt_moving()
        for name, part in self.parts.items():
            if part.triggered_s is None or self.acted[name] or name in self.lost or self.stands_since_s is None:
                continue
            part.has_stood = True
            if not stops:
                part.stood_s += now_s - max(self.stands_since_s, part.triggered_s)
        self.stands_since_s = self.stands_since_s if stops else None
        self.gate.turn()

    def earlier_pass(self) -> None:
        """An answer to the newest part, from when it came by half an hour ago."""
        name = self.name(0)
        if name is not None:
            captured_at_us = self.parts[name].captured_at_us - 1_800_000_000
            self.parts[name].views.append(self.clock.monotonic_s())
            self.gate.offer(make_decision(name, model="earlier", captured_at_us=captured_at_us))

    def decide(self, which: int, action: Action, state: ResultState, model: str, simulated: bool, camera: str) -> None:
        name = self.name(which)
        if name is None:
            return
        part = self.parts[name]
        decision = make_decision(
            name, action, result_state=state, model=model, is_simulated=simulated, camera_id=camera,
            captured_at_us=part.captured_at_us,
        )  # fmt: skip
        is_valid = not simulated and (action is not ACCEPT or state is ResultState.COMPLETED)
        if not simulated and camera != "cam":
            part.views.append(self.clock.monotonic_s())
        elif is_valid and state is not ResultState.ABORTED:
            part.heard.append((self.clock.monotonic_s(), action))
        self.gate.offer(decision)

    def advance(self, seconds: float) -> None:
        self.gate.advance(seconds)

    def jump(self, seconds: float) -> None:
        self.clock.jump_utc(seconds)
        self.jumped_s = self.clock.monotonic_s()
        for part in self.parts.values():
            part.jumped = True
        self.gate.turn()

    def reset(self) -> None:
        was = self.gate.runner.stats.fault is not None
        assert self.gate.runner.reset("somebody", "looked") is was
        self.gate.turn()

    def kill(self) -> None:
        was = self.gate.runner.stats.fault
        self.account()
        self.gate.kill()
        for name, part in self.parts.items():
            if part.triggered_s is not None and not self.acted[name]:
                self.lost.add(name)
            part.heard.clear()
            part.views.clear()
            part.unknowable = part.jumped
        self.gate = SteppedGate(self.clock, self.settings, self.state_dir)
        self.checked = 0
        self.stands_since_s = None
        # A fault outlives the process, and the driver of the new one is told.
        assert self.gate.runner.stats.fault == was
        assert self.gate.driver.line_calls == ([] if was is None else ["stop_line"])

    def check(self) -> None:
        """Look at every act since the last look."""
        acts = self.gate.acts[self.checked :]
        self.checked = len(self.gate.acts)
        in_fault = False
        assert not acts or self.stands_since_s is None, "the belt stands"
        for acted_s, instruction in acts:
            name = instruction.part_key
            part = self.parts[name]
            self.acted[name] += 1
            assert self.acted[name] == 1, "acted on twice"
            assert part.triggered_s is not None
            if not part.unknowable:
                assert acted_s >= part.captured_s + BELT_S + part.stood_s - EPSILON_S, "early"
            assert acted_s <= part.triggered_s + BELT_S + part.stood_s + EPSILON_S, "late"
            if not part.jumped:
                assert acted_s <= max(part.captured_s + BELT_S, part.triggered_s) + part.stood_s + EPSILON_S, "late"
            if part.has_stood:
                assert instruction.reason in (InstructionReason.BELT_STOPPED, InstructionReason.FAILSAFE_FAULT)
            in_fault = in_fault or instruction.reason is InstructionReason.FAILSAFE_FAULT
            if in_fault:
                assert instruction.reason is InstructionReason.FAILSAFE_FAULT
            if instruction.action is ACCEPT:
                deadline_s = instruction.act_at_s - (BELT_S - DECIDE_S)
                assert instruction.reason is InstructionReason.DECIDED
                assert any(s <= deadline_s + EPSILON_S and a is ACCEPT for s, a in part.heard), "not earned"
                assert all(a is ACCEPT for s, a in part.heard if s < instruction.act_at_s), "contradicted"
                assert not any(s < instruction.act_at_s for s in part.views), "half the evidence"
            elif instruction.is_failsafe:
                assert instruction.action is self.settings.failsafe

    def account(self) -> None:
        """Counts of this process add up."""
        stats = self.gate.runner.stats
        parts, acts = stats.tracker, self.gate.acts
        assert parts.actuated == len(acts) == parts.accepted + parts.rejected + parts.review
        assert parts.actuated == parts.decided + parts.failsafe + parts.conflict_parts + parts.several_views
        known = parts.failsafe_missing + parts.failsafe_late + parts.failsafe_fault + parts.belt_stopped
        assert (parts.failsafe, parts.failsafe_passed) == (known, 0)
        assert sum(stats.lateness.counts) == len(acts)
        whys = Counter(instruction.reason for _, instruction in acts)
        assert whys[InstructionReason.DECIDED] == parts.decided
        assert whys[InstructionReason.CONFLICT] == parts.conflict_parts
        assert whys[InstructionReason.FAILSAFE_FAULT] == parts.failsafe_fault
        assert whys[InstructionReason.SEVERAL_VIEWS] == parts.several_views
        assert whys[InstructionReason.BELT_STOPPED] == parts.belt_stopped
        calls = self.gate.driver.line_calls
        assert calls == ["stop_line", "release_line"] * (len(calls) // 2) + ["stop_line"] * (len(calls) % 2)
        assert (len(calls) % 2 == 1) == (stats.fault is not None)


@given(st.lists(STEP, min_size=12, max_size=60), st.sampled_from([0, 0, 3]))
@settings(max_examples=300)
def test_any_interleaving(steps: list[tuple], fault_after: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory), fault_after)
        try:
            for step in steps:
                world.step(*step)
            world.step("belt", False)
            world.step("advance", 10.0)
            world.account()
        finally:
            world.gate.kill()
    for name, part in world.parts.items():
        assert world.acted[name] == (part.triggered_s is not None and name not in world.lost)


@given(st.lists(st.sampled_from(["ok", "none", "conflict", "reset"]), max_size=40), st.integers(0, 4))
@settings(max_examples=200)
def test_fault_comes_after_n_in_a_row_and_stays(parts: list[str], after: int) -> None:
    """A model of the latch in six lines, against the gate."""
    clock = ManualClock(utc_us=10**15, monotonic_s=1.0)
    gate = SteppedGate(clock, GateSettings(belt_ms=100, fault_after=after))
    in_a_row, in_fault = 0, False
    for number, what in enumerate(parts):
        if what == "reset":
            assert gate.runner.reset("me", "looked") is in_fault
            gate.turn()
            # A reset of what is no fault changes nothing: the row goes on.
            in_a_row, in_fault = (0, False) if in_fault else (in_a_row, False)
            continue
        captured = clock.utc_us()
        gate.expect(f"p{number}", captured)
        if what != "none":
            gate.offer(make_decision(f"p{number}", captured_at_us=captured))
        if what == "conflict":
            gate.offer(make_decision(f"p{number}", Action.REJECT, model="m2", captured_at_us=captured))
        gate.advance(0.1 + EPSILON_S)
        instruction = gate.driver.instructions[-1]
        if in_fault:
            assert (instruction.action, instruction.reason) == (Action.REJECT, InstructionReason.FAILSAFE_FAULT)
        else:
            assert instruction.action is (ACCEPT if what == "ok" else Action.REJECT)
        in_a_row = 0 if what == "ok" and not in_fault else in_a_row + 1
        in_fault = in_fault or in_a_row == after > 0
        assert (gate.runner.stats.fault is not None) == in_fault
    gate.kill()
