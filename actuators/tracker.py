"""The rules of the gate, as pure code: no Kafka, no threads, the clock injected.

Each expected part gets exactly one instruction, at its belt time:

=====================================================  ==========================================
what came by ``decide_by_s``                           action
=====================================================  ==========================================
one decision, or the same one again                    as decided
two that differ in action                              REJECT (``conflict``)
nothing                                                fail-safe (``failsafe-missing``)
nothing, but something between then and the belt time  fail-safe (``failsafe-late``)
=====================================================  ==========================================

ACCEPT becomes REVIEW (``drift-review``) while the part's camera drifts, where drift has that consequence.

A part that is armed and then contradicted before its belt time is rejected even if the contradiction is late:
doubt never accepts. Once acted on, whatever else comes for the part is counted and changes nothing.

After so many parts in a row without a usable decision (fail-safe or conflict) the gate is in FAULT: every further part
gets the fail-safe (``failsafe-fault``), whatever was decided, until a person resets it.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable

from actuators.actuator import Instruction, Why
from actuators.counts import TrackerCounts
from actuators.early import EarlyDecisions
from actuators.errors import GateFull
from actuators.fault import FaultLatch
from actuators.passing import Key, Outcome, Passing
from actuators.schedule import ExpectedPart
from schemas.clock import Clock
from schemas.errors import SettingsError
from schemas.records import Action, Decision, ResultState


class PartTracker:
    """Holds what is between camera and gate.

    Memory is bounded by the three limits below: at most ``max_pending`` parts with one decision each (1 MiB as the
    topic allows, about 1 kB as models write them), ``max_acted`` parts without, and ``max_early`` decisions.

    Parameters
    ----------
    clock
        Monotonic time for deadlines; UTC only to stamp instructions.
    failsafe
        REJECT or REVIEW.
    same_pass_s
        A decision belongs to a pass of a part if their captures are no further apart. A part that comes round
        again later is a new pass, and an answer to the old one does not arm it.
    hold_early_s
        How long a decision that overtook its trigger is kept for it.
    latch
        When the gate goes into FAULT; None: never.
    diverts
        Asked at the act with station and camera of a part that would be accepted: the episode of drift for which it
        goes to REVIEW; None: to none. It must not wait for anything.

    simulated
        Take decisions of a replay and refuse those of the line, instead of the other way round.

    Raises
    ------
    SettingsError
        If the fail-safe is ACCEPT.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock()
    >>> tracker = PartTracker(clock)
    >>> tracker.expect(ExpectedPart(part_key="p1", station="s", camera_id="c", captured_at_us=0,
    ...                             act_at_s=0.8, decide_by_s=0.5))
    True
    >>> clock.advance(0.8)
    >>> [(i.part_key, i.action.value, i.why.value) for i in tracker.due(clock.monotonic_s())]
    [('p1', 'REJECT', 'failsafe-missing')]
    """

    def __init__(
        self,
        clock: Clock,
        *,
        failsafe: Action = Action.REJECT,
        same_pass_s: float = 2.0,
        hold_early_s: float = 5.0,
        latch: FaultLatch | None = None,
        diverts: Callable[[str, str], str | None] = lambda station, camera_id: None,
        max_pending: int = 4096,
        max_acted: int = 4096,
        max_early: int = 256,
        simulated: bool = False,
    ) -> None:
        if failsafe is Action.ACCEPT:
            raise SettingsError(
                "the fail-safe action is REJECT or REVIEW: a part nothing is known of is never accepted"
            )
        self._clock = clock
        self._failsafe = failsafe
        self._same_pass_us = round(same_pass_s * 1e6)
        self._simulated = simulated
        self._max_pending = max_pending
        self._max_acted = max_acted
        self._latch = latch or FaultLatch(0, clock)
        self._diverts = diverts
        self._early = EarlyDecisions(hold_early_s, max_early)
        self._passes: dict[Key, list[Passing]] = {}
        self._queue: list[tuple[float, int, Passing]] = []
        self._acted: OrderedDict[int, Passing] = OrderedDict()
        self._serial = 0
        self._tally = TrackerCounts().as_dict()

    def expect(self, part: ExpectedPart) -> bool:
        """Begin to track a part; False if this pass of it is known already, which is counted.

        Raises
        ------
        GateFull
            With ``max_pending`` parts on the belt: the caller has to stop the line, or treat the part by hand.
        """
        key = (part.station, part.camera_id, part.part_key)
        if self._find(key, part.captured_at_us) is not None:
            self._tally["repeated_triggers"] += 1
            return False
        if len(self._queue) >= self._max_pending:
            self._tally["overflow"] += 1
            raise GateFull(f"{self._max_pending} parts between camera and gate: no room for part {part.part_key!r}")
        self._serial += 1
        passing = Passing(part, key, self._serial)
        self._passes.setdefault(key, []).append(passing)
        heapq.heappush(self._queue, (part.act_at_s, self._serial, passing))
        for received_at_s, received_at_us, decision in self._early.take(
            key, self._clock.monotonic_s(), lambda decision: self._is_of(decision, part)
        ):
            self._apply(passing, decision, received_at_s, received_at_us)
        return True

    def offer(self, decision: Decision) -> Outcome:
        """Take a decision that was received just now, and say what became of it."""
        if decision.is_simulated is not self._simulated:
            self._tally["refused_simulated"] += 1
            return Outcome.REFUSED_SIMULATED
        if decision.action is Action.ACCEPT and decision.result_state is not ResultState.COMPLETED:
            # Nothing was inspected, so there is nothing to accept on: the fail-safe stands.
            self._tally["refused_invalid"] += 1
            return Outcome.REFUSED_INVALID
        key = (decision.station, decision.camera_id, decision.part_key)
        now_s, now_us = self._clock.monotonic_s(), self._clock.utc_us()
        passing = self._find(key, decision.captured_at_us)
        if passing is not None:
            return self._apply(passing, decision, now_s, now_us)
        # Several copies of one early decision need no more room than one.
        if not self._early.keep(key, decision, now_s, now_us):
            self._tally["duplicates"] += 1
            return Outcome.DUPLICATE
        self._tally["unknown"] += 1
        return Outcome.UNKNOWN

    def recall(self, key: Key, captured_at_us: int) -> None:
        """Know a part that a former run acted on: triggered again it is a repetition, and its decisions are late."""
        station, camera_id, part_key = key
        part = ExpectedPart(
            part_key=part_key,
            station=station,
            camera_id=camera_id,
            captured_at_us=captured_at_us,
            act_at_s=self._clock.monotonic_s(),
            decide_by_s=self._clock.monotonic_s(),
        )
        self._serial += 1
        passing = Passing(part, key, self._serial)
        self._passes.setdefault(key, []).append(passing)
        self._close(passing)

    def due(self, now_s: float) -> list[Instruction]:
        """Instructions for the parts that are at the gate, in the order of their arrival; each is given once."""
        instructions = []
        while self._queue and self._queue[0][0] <= now_s:
            passing = heapq.heappop(self._queue)[2]
            instructions.append(self._instruct(passing))
            self._close(passing)
        return instructions

    @property
    def next_due_s(self) -> float | None:
        """Monotonic time of the next arrival; None with an empty belt."""
        return self._queue[0][0] if self._queue else None

    @property
    def pending(self) -> int:
        """Parts between camera and gate."""
        return len(self._queue)

    @property
    def counts(self) -> TrackerCounts:
        """What has happened so far."""
        return TrackerCounts(**{**self._tally, "consecutive_failsafe": self._latch.in_a_row})

    def _is_of(self, decision: Decision, part: ExpectedPart) -> bool:
        return abs(decision.captured_at_us - part.captured_at_us) <= self._same_pass_us

    def _find(self, key: Key, captured_at_us: int) -> Passing | None:
        near = [
            (abs(captured_at_us - passing.part.captured_at_us), passing.serial, passing)
            for passing in self._passes.get(key, ())
        ]
        if not near:
            return None
        distance_us, _, passing = min(near)
        return passing if distance_us <= self._same_pass_us else None

    def _apply(self, passing: Passing, decision: Decision, received_at_s: float, received_at_us: int) -> Outcome:
        outcome = passing.judge(decision, received_at_s, received_at_us)
        counter = {Outcome.DUPLICATE: "duplicates", Outcome.CONFLICT: "conflicts", Outcome.LATE: "late"}.get(outcome)
        if counter is not None:
            self._tally[counter] += 1
        return outcome

    def _instruct(self, passing: Passing) -> Instruction:
        part = passing.part
        action: Action
        decision, armed_at_us = passing.decision, passing.armed_at_us
        episode_id = None
        if self._latch.is_latched:
            action, why, decision, armed_at_us = self._failsafe, Why.FAILSAFE_FAULT, None, None
        elif passing.is_contradicted:
            action, why = Action.REJECT, Why.CONFLICT
        elif passing.action is not None:
            action, why = passing.action, Why.DECIDED
            if action is Action.ACCEPT:
                episode_id = self._diverts(part.station, part.camera_id)
            if episode_id is not None:
                action, why = Action.REVIEW, Why.DRIFT_REVIEW
        else:
            action, why = self._failsafe, Why.FAILSAFE_LATE if passing.was_late else Why.FAILSAFE_MISSING
        instruction = Instruction(
            part_key=part.part_key,
            station=part.station,
            camera_id=part.camera_id,
            action=action,
            why=why,
            captured_at_us=part.captured_at_us,
            act_at_us=self._clock.utc_us() - round((self._clock.monotonic_s() - part.act_at_s) * 1e6),
            act_at_s=part.act_at_s,
            decision=decision,
            armed_at_us=armed_at_us,
            episode_id=episode_id,
        )
        self._tally["actuated"] += 1
        self._tally[_COUNTER[action]] += 1
        self._tally[_COUNTER_WHY[why]] += 1
        self._tally["failsafe"] += instruction.is_failsafe
        self._latch.note(instruction.is_decided)
        return instruction

    def _close(self, passing: Passing) -> None:
        passing.close()
        self._acted[passing.serial] = passing
        if len(self._acted) > self._max_acted:
            self._forget(self._acted.popitem(last=False)[1])

    def _forget(self, passing: Passing) -> None:
        passes = self._passes[passing.key]
        passes.remove(passing)
        if not passes:
            del self._passes[passing.key]


_COUNTER = {Action.ACCEPT: "accepted", Action.REJECT: "rejected", Action.REVIEW: "review"}
_COUNTER_WHY = {
    Why.DECIDED: "decided",
    Why.DRIFT_REVIEW: "drift_review",
    Why.CONFLICT: "conflict_parts",
    Why.FAILSAFE_MISSING: "failsafe_missing",
    Why.FAILSAFE_LATE: "failsafe_late",
    Why.FAILSAFE_FAULT: "failsafe_fault",
}

__all__ = ["Outcome", "PartTracker"]
