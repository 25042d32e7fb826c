"""Counts of tracker, consumer and gate, as frozen snapshots."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum

from actuators.actuator import InstructionReason
from actuators.drift_watch import DriftStats
from actuators.fault import Fault
from actuators.lateness import Lateness
from schemas.records import Action

#: Names of the counts below, by the action that a part got and by its reason.
ACTION_COUNTS = {Action.ACCEPT: "accepted", Action.REJECT: "rejected", Action.REVIEW: "review"}
REASON_COUNTS = {
    InstructionReason.DECIDED: "decided",
    InstructionReason.DRIFT_REVIEW: "drift_review",
    InstructionReason.CONFLICT: "conflict_parts",
    InstructionReason.FAILSAFE_MISSING: "failsafe_missing",
    InstructionReason.FAILSAFE_LATE: "failsafe_late",
    InstructionReason.FAILSAFE_FAULT: "failsafe_fault",
    InstructionReason.FAILSAFE_PASSED: "failsafe_passed",
    InstructionReason.SEVERAL_VIEWS: "several_views",
    InstructionReason.BELT_STOPPED: "belt_stopped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerCounts:
    """Snapshot of the counts. ``actuated = accepted + rejected + review``.

    It is also ``decided + drift_review + failsafe + conflict_parts + several_views``.

    Parameters
    ----------
    decided, conflict_parts
        Parts treated as their decision says; parts rejected because their decisions contradicted each other.
    drift_review
        Parts whose decision said ACCEPT and that went to REVIEW because their camera drifts.
    failsafe
        Parts that got the fail-safe action, ``failsafe_missing + failsafe_late + failsafe_fault + failsafe_passed +
        belt_stopped``: there was no decision, the decision came after its deadline, the gate was in FAULT, the part
        was past the gate before it could act, or the belt was stopped while the part was on it.
    several_views
        Parts that were seen more than once: they got REJECT if one view said so, else the fail-safe action.
    further_views, late_views
        Views of a part after its first one, from a trigger or a decision: while the part was on the belt, and after the
        act.
    late
        Decisions that came after their deadline or after the act.
    conflicts
        Decisions that contradicted an earlier one of the same part.
    duplicates
        Decisions that repeated an earlier one.
    superseded
        Decisions of shed frames (ABORTED) whose view has an inspection: another worker was quicker.
    late_contradictions
        Decisions other than ACCEPT that came after the act on a part that was accepted.
    unknown
        Decisions received before, or without, their trigger.
    refused_simulated, refused_invalid
        Decisions of a replay; ACCEPTs of inspections that did not complete or came to no verdict, or of a part with a
        view missing, and all decisions of a shadow model.
    repeated_triggers, overflow
        Triggers that were repeated; parts for which the gate had no room.
    standstills
        Number of times that the belt was reported as stopped.
    consecutive_failsafe
        Latest parts in a row that were not decided: fail-safes, conflicts and several views. Many in a row lead to
        FAULT. Parts that were on a stopped belt are left out.
    """

    actuated: int = 0
    accepted: int = 0
    rejected: int = 0
    review: int = 0
    decided: int = 0
    drift_review: int = 0
    conflict_parts: int = 0
    failsafe: int = 0
    failsafe_missing: int = 0
    failsafe_late: int = 0
    failsafe_fault: int = 0
    failsafe_passed: int = 0
    belt_stopped: int = 0
    several_views: int = 0
    further_views: int = 0
    late_views: int = 0
    late_contradictions: int = 0
    late: int = 0
    conflicts: int = 0
    duplicates: int = 0
    superseded: int = 0
    unknown: int = 0
    refused_simulated: int = 0
    refused_invalid: int = 0
    repeated_triggers: int = 0
    overflow: int = 0
    standstills: int = 0
    consecutive_failsafe: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class ConsumerCounts:
    """Numbers of messages by outcome, and of errors of the connection.

    ``untrusted`` decisions have no signature of a worker's key, and are not used.
    """

    delivered: int = 0
    duplicates: int = 0
    undecodable: int = 0
    skipped_old: int = 0
    other_station: int = 0
    untrusted: int = 0
    errors: int = 0


class GateState(StrEnum):
    """State of a gate, worst first: stopped until a reset; without broker or decisions; at work."""

    FAULT = "fault"
    DEGRADED = "degraded"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class GateStats:
    """Snapshot of a gate.

    Parameters
    ----------
    tracker, consumer
        Counts of the tracker and of the consumer.
    act_errors
        Calls of the driver that failed.
    pending
        Parts on the belt.
    connected
        True if the broker answers.
    fault, faults
        The fault that the gate is in (None: it is not), and the number of faults since the start.
    degraded, degradations
        Reason why the gate is DEGRADED (None: it is not), and the number of times that it became so since the start.
    lateness
        Lateness of the acts.
    state_errors
        Acts that could not be put on file beforehand.
    drift
        State of the drift watch; None if drift has no consequences.
    belt_stopped, gaps
        True if the belt is reported as stopped; number of times that the gate itself was suspended.
    """

    tracker: TrackerCounts
    consumer: ConsumerCounts
    act_errors: int
    pending: int
    connected: bool
    fault: Fault | None = None
    faults: int = 0
    degraded: str | None = None
    degradations: int = 0
    lateness: Lateness = field(default_factory=Lateness)
    state_errors: int = 0
    drift: DriftStats | None = None
    belt_stopped: bool = False
    gaps: int = 0

    @property
    def state(self) -> GateState:
        """Worst state that applies."""
        if self.fault is not None:
            return GateState.FAULT
        return GateState.RUNNING if self.degraded is None else GateState.DEGRADED
