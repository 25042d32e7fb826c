"""Rules of the gate, as pure code: no Kafka, no threads, the clock injected.

Each expected part gets exactly one instruction, at its belt time:

=====================================================  ==========================================
what came by ``decide_by_s``                           action
=====================================================  ==========================================
one decision, or the same one again                    as decided
two decisions that differ in action                    REJECT (``conflict``)
one of a shed frame (ABORTED), one of its inspection   as inspected, whichever came first
one whose id came with another part, camera or capture REJECT (``conflict``)
triggers or decisions of two views of the part         REJECT if one says so, else fail-safe
                                                       (``several-views``)
nothing                                                fail-safe (``failsafe-missing``)
nothing, but a decision between then and belt time     fail-safe (``failsafe-late``)
=====================================================  ==========================================

ACCEPT becomes REVIEW (``drift-review``) while the part's camera drifts, if drift has that consequence.

If an armed part is contradicted before its belt time, it is rejected, even if the contradiction is late: doubt never
accepts. After the act, everything else that comes for the part is counted and changes nothing.

The cameras of a station look at the same parts: a station and a part name identify a part. Views are not yet joined
to one answer, so a part with two views is never accepted.

While the belt is stopped (`PartTracker.stop_belt`) nothing arrives at the gate; parts on it get the fail-safe
(``belt-stopped``) when they arrive. A part that has passed the gate by more than ``max_lateness_s`` before the gate
could act gets the fail-safe (``failsafe-passed``): the next part may be in front of it.

After a number of parts in a row without a usable decision (fail-safe or conflict) the gate is in FAULT: every further
part gets the fail-safe (``failsafe-fault``), whatever its decision says, until a person resets the FAULT.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import partial

from actuators.actuator import Instruction, InstructionReason
from actuators.arrivals import Arrivals
from actuators.counts import ACTION_COUNTS, REASON_COUNTS, TrackerCounts
from actuators.early import EarlyDecisions
from actuators.errors import GateFull
from actuators.fault import FaultLatch
from actuators.grounds import SHADOW, is_groundless
from actuators.known_ids import KnownIds
from actuators.part_keys import PartKeys
from actuators.schedule import ExpectedPart
from actuators.tracked_part import OfferResult, PartKey, TrackedPart
from schemas.clock import Clock
from schemas.errors import SettingsError
from schemas.records import Action, Decision

log = logging.getLogger(__name__)


class PartTracker:
    """Parts between camera and gate, and the rules for them.

    Memory is bounded by three limits: at most ``max_pending`` parts with one decision each (1 MiB as the
    topic permits, about 1 kB as models write them), ``max_acted`` parts without decisions, and ``max_early`` decisions.

    Parameters
    ----------
    clock
        Monotonic time for deadlines; UTC only to stamp instructions.
    failsafe
        REJECT or REVIEW.
    same_pass_s
        A decision arms a pass of a part if their captures are no further apart than this. A decision further off is on
        another view of the part that is on the belt. A part that comes round again later is a new pass.
    hold_early_s
        Time for which a decision that came before its trigger is kept for it.
    latch
        Latch that puts the gate into FAULT; None: the gate never goes into FAULT.
    diverts
        Called at the act with station and camera of a part that would be accepted. It returns the episode of drift for
        which the part goes to REVIEW; None: the part is accepted. It must not block.
    no_part_ids
        Texts that a device sends if it has read no part id, such as ``NOREAD``: such a part is known by its frame.
    max_lateness_s
        A part that passed the gate longer ago than this gets the fail-safe, whatever the decision says.
    simulated
        Use decisions of a replay and refuse those of the line, instead of the other way round.

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
    >>> [(i.part_key, i.action.value, i.reason.value) for i in tracker.due(clock.monotonic_s())]
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
        no_part_ids: Collection[str] = (),
        max_lateness_s: float = math.inf,
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
        self._part_keys = PartKeys(no_part_ids)
        self._max_lateness_s = max_lateness_s
        self._ids = KnownIds()
        self._early = EarlyDecisions(hold_early_s, max_early)
        self._passes: dict[PartKey, list[TrackedPart]] = {}
        #: Parts on the belt.
        self.arrivals = Arrivals()
        self._acted: OrderedDict[int, TrackedPart] = OrderedDict()
        self._serial = 0
        self._has_logged_views = False
        #: Cameras that triggered a part, and the number of decisions so far on their frames.
        self._cameras: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.usable_decisions = 0
        self._counts = TrackerCounts().as_dict()

    def expect(self, part: ExpectedPart) -> bool:
        """Start to track a part; return False if this pass of the part is already known.

        A repeated trigger is counted, and changes nothing. Another frame, or another camera of the station,
        is another view of the part, known from this trigger or from an earlier decision.

        Raises
        ------
        GateFull
            If ``max_pending`` parts are on the belt: the caller has to stop the line, or handle the part manually.
        """
        self._cameras[part.station, part.camera_id] = None
        if len(self._cameras) > _MAX_CAMERAS:
            self._cameras.popitem(last=False)
        key = self._part_keys.of_trigger(
            part.station, part.part_key, part.camera_id, part.frame_id, part.captured_at_us
        )
        known = self._pass_of(key, part)
        if known is not None:
            view, is_new_view = known.find_or_add_view(part.camera_id, part.frame_id, part.captured_at_us)
            self._counts["repeated_triggers"] += view.is_triggered  # not if its decision came before its trigger
            view.is_triggered = True
            if is_new_view:
                self._count_view(known)
            return False
        if len(self.arrivals) >= self._max_pending:
            self._counts["overflow"] += 1
            raise GateFull(f"{self._max_pending} parts between camera and gate: no room for part {part.part_key!r}")
        self._serial += 1
        now_s = self._clock.monotonic_s()
        tracked = TrackedPart(dataclasses.replace(part, part_key=key[1]), key, self._serial, now_s)
        tracked.has_lost_decision = self._early.has_loss(key, now_s)
        self._passes.setdefault(key, []).append(tracked)
        self.arrivals.add(tracked)
        for received_at_s, received_at_us, decision in self._early.take(key, now_s):
            self._counts["refused_invalid"] -= is_groundless(decision)  # it was counted when it was received
            self._apply(tracked, decision, received_at_s, received_at_us)
        return True

    def offer(self, decision: Decision) -> OfferResult:
        """Apply a decision that was received just now; return its effect."""
        if decision.is_simulated is not self._simulated:
            self._counts["refused_simulated"] += 1
            return OfferResult.REFUSED_SIMULATED
        if decision.model_stage == SHADOW:
            self._counts["refused_invalid"] += 1
            return OfferResult.REFUSED_INVALID
        self.usable_decisions += not is_groundless(decision) and (decision.station, decision.camera_id) in self._cameras
        now_s, now_us = self._clock.monotonic_s(), self._clock.utc_us()
        keys = self._part_keys.of_decision(decision)
        tracked = self._find(keys, decision)
        if tracked is not None:
            return self._apply(tracked, decision, now_s, now_us)
        if is_groundless(decision):
            # The decision shows a view of its part: it is kept until the trigger comes.
            self._counts["refused_invalid"] += 1
            self._early.keep(keys[0], decision, now_s, now_us)
            return OfferResult.REFUSED_INVALID
        self._ids.record(decision, None)
        # Several copies of one early decision need no more room than one copy.
        if not self._early.keep(keys[0], decision, now_s, now_us):
            self._counts["duplicates"] += 1
            return OfferResult.DUPLICATE
        self._counts["unknown"] += 1
        return OfferResult.UNKNOWN

    def recall(self, station: str, camera_id: str, part_key: str, captured_at_us: int) -> None:
        """Remember a part that a former run acted on: another trigger is a repetition, and its decisions are late."""
        now_s = self._clock.monotonic_s()
        part = ExpectedPart(
            part_key=part_key,
            station=station,
            camera_id=camera_id,
            captured_at_us=captured_at_us,
            act_at_s=now_s,
            decide_by_s=now_s,
        )
        key = (station, part_key)
        self._serial += 1
        tracked = TrackedPart(part, key, self._serial)
        self._passes.setdefault(key, []).append(tracked)
        self._close(tracked, None)

    def stop_belt(self) -> None:
        """Suspend the schedule, as the belt is stopped: nothing arrives, and parts on the belt get the fail-safe."""
        self._counts["standstills"] += not self.arrivals.is_stopped
        self.arrivals.stop(self._clock.monotonic_s())

    def move_belt(self) -> None:
        """Resume the schedule: parts on the belt arrive later by the time that it was stopped."""
        self.arrivals.move(self._clock.monotonic_s())

    def due(self, now_s: float) -> list[Instruction]:
        """Return the instructions for the parts at the gate, in the order of arrival; each is returned once."""
        return list(iter(partial(self.take_due, now_s), None))

    def take_due(self, now_s: float) -> Instruction | None:
        """Return the instruction for the first part at the gate, as of this moment; None if no part has arrived."""
        tracked = self.arrivals.pop(now_s)
        if tracked is None:
            return None
        instruction = self._instruct(tracked)
        self._close(tracked, instruction.action)
        return instruction

    @property
    def next_due_s(self) -> float | None:
        """Monotonic time of the next arrival; None if the belt is empty or stopped."""
        return self.arrivals.next_s

    @property
    def pending(self) -> int:
        """Parts between camera and gate."""
        return len(self.arrivals)

    @property
    def counts(self) -> TrackerCounts:
        """Counts since the start."""
        return TrackerCounts(**{**self._counts, "consecutive_failsafe": self._latch.in_a_row})

    def _is_near(self, tracked: TrackedPart, captured_at_us: int) -> bool:
        return tracked.distance_us(captured_at_us) <= self._same_pass_us

    def _pass_of(self, key: PartKey, part: ExpectedPart) -> TrackedPart | None:
        passes = self._passes.get(key, ())
        # Between camera and gate there is only one part of a name, however far apart its captures are.
        on_belt = next((tracked for tracked in passes if not tracked.is_acted), None)
        return on_belt or self._nearest(passes, part.camera_id, part.frame_id, part.captured_at_us)

    def _find(self, keys: tuple[PartKey, ...], decision: Decision) -> TrackedPart | None:
        passes = [tracked for key in keys for tracked in self._passes.get(key, ())]
        nearest = self._nearest(passes, decision.camera_id, decision.frame_id, decision.captured_at_us)
        # Even if the captures are far apart, the decision may show the part that is on the belt, as another view of it.
        return nearest or next((tracked for tracked in passes if not tracked.is_acted), None)

    def _nearest(
        self, passes: Collection[TrackedPart], camera_id: str, frame_id: str | None, captured_at_us: int
    ) -> TrackedPart | None:
        near = [
            (not tracked.has_frame(camera_id, frame_id), tracked.distance_us(captured_at_us), tracked.serial, tracked)
            for tracked in passes
            if self._is_near(tracked, captured_at_us)
        ]
        return min(near)[3] if near else None

    def _apply(
        self, tracked: TrackedPart, decision: Decision, received_at_s: float, received_at_us: int
    ) -> OfferResult:
        views = len(tracked.views)
        is_far = not self._is_near(tracked, decision.captured_at_us)
        if is_groundless(decision):
            self._counts["refused_invalid"] += 1
            tracked.find_or_add_view(decision.camera_id, decision.frame_id, decision.captured_at_us, is_another=is_far)
            if len(tracked.views) > views:
                self._count_view(tracked)
            return OfferResult.REFUSED_INVALID
        is_contradiction = self._ids.record(decision, tracked)
        outcome = tracked.apply_decision(decision, received_at_s, received_at_us, is_another=is_far)
        if is_contradiction and not tracked.is_acted and not tracked.is_contradicted:
            tracked.is_contradicted = True
            outcome = OfferResult.CONFLICT
        if len(tracked.views) > views:
            self._count_view(tracked)
        if tracked.instructed is Action.ACCEPT and outcome is OfferResult.LATE and decision.action is not Action.ACCEPT:
            self._counts["late_contradictions"] += 1
            log.error(
                "part %r of station %r was accepted, and now a decision says %s (camera %r, decision %r)",
                tracked.part.part_key, tracked.part.station, decision.action, decision.camera_id, decision.decision_id,
            )  # fmt: skip
        counter = _COUNTERS.get(outcome)
        if counter is not None:
            self._counts[counter] += 1
        return outcome

    def _count_view(self, tracked: TrackedPart) -> None:
        part = tracked.part
        self._counts["late_views" if tracked.is_acted else "further_views"] += 1
        if not tracked.is_acted and not self._has_logged_views:
            self._has_logged_views = True
            log.warning(
                "part %r of station %r is seen more than once: until views of a part are joined, such a part gets the "
                "fail-safe, or REJECT if one view says so (several-views); further ones are counted. If %r is no part "
                "id but what a device gives without one, name it with --no-part-id",
                part.part_key, part.station, part.part_key,
            )  # fmt: skip

    def _instruct(self, tracked: TrackedPart) -> Instruction:
        part = tracked.part
        decision, armed_at_us = tracked.decision, tracked.armed_at_us
        episode_id = None
        act_at_s = tracked.arrives_s
        action, reason = tracked.result(self._failsafe)
        if self._latch.is_latched:
            action, reason = self._failsafe, InstructionReason.FAILSAFE_FAULT
        elif reason is InstructionReason.DECIDED and self._clock.monotonic_s() - act_at_s > self._max_lateness_s:
            action, reason = self._failsafe, InstructionReason.FAILSAFE_PASSED
        elif reason is InstructionReason.DECIDED and action is Action.ACCEPT:
            episode_id = self._diverts(part.station, part.camera_id)
            if episode_id is not None:
                action, reason = Action.REVIEW, InstructionReason.DRIFT_REVIEW
        if reason not in (InstructionReason.DECIDED, InstructionReason.DRIFT_REVIEW, InstructionReason.CONFLICT):
            decision = armed_at_us = None
        instruction = Instruction(
            part_key=part.part_key,
            station=part.station,
            camera_id=part.camera_id,
            action=action,
            reason=reason,
            captured_at_us=part.captured_at_us,
            act_at_us=self._clock.utc_us() - round((self._clock.monotonic_s() - act_at_s) * 1e6),
            act_at_s=act_at_s,
            decision=decision,
            armed_at_us=armed_at_us,
            episode_id=episode_id,
        )
        self._counts["actuated"] += 1
        self._counts[ACTION_COUNTS[action]] += 1
        self._counts[REASON_COUNTS[reason]] += 1
        self._counts["failsafe"] += instruction.is_failsafe
        if reason is not InstructionReason.BELT_STOPPED:
            # A stopped belt shows nothing about workers and decisions.
            self._latch.count_part(instruction.is_decided)
        return instruction

    def _close(self, tracked: TrackedPart, instructed: Action | None) -> None:
        tracked.close(instructed)
        self._acted[tracked.serial] = tracked
        if len(self._acted) > self._max_acted:
            self._forget(self._acted.popitem(last=False)[1])

    def _forget(self, tracked: TrackedPart) -> None:
        passes = self._passes[tracked.key]
        passes.remove(tracked)
        if not passes:
            del self._passes[tracked.key]


#: Names of the counts of results that arm no part.
_COUNTERS = {
    OfferResult.DUPLICATE: "duplicates",
    OfferResult.SUPERSEDED: "superseded",
    OfferResult.CONFLICT: "conflicts",
    OfferResult.LATE: "late",
}
#: Most cameras of one gate that are remembered; a gate serves one camera, or the few of a station.
_MAX_CAMERAS = 256


__all__ = ["OfferResult", "PartTracker"]
