"""Instructions of a gate, and the protocols that a gate's driver implements."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from schemas.records import Action, Decision


class InstructionReason(StrEnum):
    """Reason for the action of an instruction."""

    DECIDED = "decided"
    #: The decision says ACCEPT, but its camera drifts: the part goes to a person instead.
    DRIFT_REVIEW = "drift-review"
    FAILSAFE_MISSING = "failsafe-missing"
    FAILSAFE_LATE = "failsafe-late"
    #: The gate is in FAULT: it does not follow the decision.
    FAILSAFE_FAULT = "failsafe-fault"
    #: The part had passed the gate before the gate could act: the process had been suspended, or the driver was slow.
    FAILSAFE_PASSED = "failsafe-passed"
    CONFLICT = "conflict"
    #: The part has more than one view, and views are not joined yet: REJECT if one view says so, else the fail-safe.
    SEVERAL_VIEWS = "several-views"
    #: The part was on the belt while the belt was stopped: its position is not certain, so it gets the fail-safe.
    BELT_STOPPED = "belt-stopped"


_FAILSAFE = frozenset(
    {
        InstructionReason.FAILSAFE_MISSING,
        InstructionReason.FAILSAFE_LATE,
        InstructionReason.FAILSAFE_FAULT,
        InstructionReason.FAILSAFE_PASSED,
        InstructionReason.BELT_STOPPED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """Action to take on one part now.

    Parameters
    ----------
    part_key, station, camera_id
        The part, and the camera that saw it first; equal keys of one station are one part.
    action, reason
        The action, and the reason for it.
    captured_at_us, act_at_us
        UTC microseconds of the capture and of the part's arrival at the gate.
    act_at_s
        The arrival on the monotonic clock of the gate; lateness is measured against it.
    decision
        The decision that armed the part; None for a fail-safe.
    armed_at_us
        UTC microseconds at which the gate received the decision.
    episode_id
        Episode of drift that turned ACCEPT into REVIEW; None otherwise.
    """

    part_key: str
    station: str
    camera_id: str
    action: Action
    reason: InstructionReason
    captured_at_us: int
    act_at_us: int
    act_at_s: float
    decision: Decision | None = field(default=None, repr=False)
    armed_at_us: int | None = None
    episode_id: str | None = None

    @property
    def decision_id(self) -> str | None:
        """Id of the decision; None for a fail-safe."""
        return None if self.decision is None else self.decision.decision_id

    @property
    def is_failsafe(self) -> bool:
        """True if the gate took the fail-safe action, with or without a decision: too late, belt stopped, or FAULT."""
        return self.reason in _FAILSAFE

    @property
    def is_decided(self) -> bool:
        """True if the gate received a usable decision, even if drift then changed ACCEPT to REVIEW.

        Parts without a usable decision lead to FAULT.
        """
        return self.reason in (InstructionReason.DECIDED, InstructionReason.DRIFT_REVIEW)


@runtime_checkable
class Actuator(Protocol):
    """Driver: turns instructions into movement.

    The gate calls `open` once, `act` once for each part at the moment the part is in front of it, and `close` once.
    `act` runs on the thread that keeps the belt's time: return within a millisecond or two, and let slow hardware work
    on a thread of its own. The gate counts and logs an exception out of `act` and continues, so **the idle
    position of the hardware has to be the safe one**. The gate calls the methods from one thread at a time.

    Examples
    --------
    >>> class Lamp:
    ...     def open(self) -> None: ...
    ...     def close(self) -> None: ...
    ...     def act(self, instruction: Instruction) -> None:
    ...         self.red = instruction.action is not Action.ACCEPT
    >>> isinstance(Lamp(), Actuator)
    True
    """

    def open(self) -> None:
        """Open the hardware."""
        ...

    def act(self, instruction: Instruction) -> None:
        """Carry out one instruction."""
        ...

    def close(self) -> None:
        """Put the hardware into its safe position and close it.

        Idempotent; may be called without `open`, and is called after an `open` that failed.
        """
        ...


@runtime_checkable
class LineStop(Protocol):
    """Optional part of a driver, besides `Actuator`: it can stop the line.

    The gate calls both methods on the thread that calls `act`, once for each change. It calls `stop_line` when it goes
    into FAULT or starts in it, and again with the new reason if another FAULT follows at once. It calls `release_line`
    when a person has reset the FAULT. Return as quickly as from `act`. With a driver without these methods, the gate
    only takes the fail-safe action for each part that still comes.

    Examples
    --------
    >>> class Relay:
    ...     def stop_line(self, reason: str) -> None: ...
    ...     def release_line(self) -> None: ...
    >>> isinstance(Relay(), LineStop)
    True
    """

    def stop_line(self, reason: str) -> None:
        """Stop the line. The reason is one line of text for a person."""
        ...

    def release_line(self) -> None:
        """Allow a restart of the line; a person restarts it."""
        ...
