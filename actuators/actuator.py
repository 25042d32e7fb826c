"""What a gate is told to do, and what a driver of one looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from schemas.records import Action, Decision


class Why(StrEnum):
    """Where the action of an instruction comes from."""

    DECIDED = "decided"
    #: The decision says ACCEPT, its camera drifts: the part goes to a person instead.
    DRIFT_REVIEW = "drift-review"
    FAILSAFE_MISSING = "failsafe-missing"
    FAILSAFE_LATE = "failsafe-late"
    #: The gate is in FAULT: whatever the decision said, it is not followed.
    FAILSAFE_FAULT = "failsafe-fault"
    #: The part had passed the gate before the gate could act: its process had been suspended, or its driver was slow.
    FAILSAFE_PASSED = "failsafe-passed"
    CONFLICT = "conflict"
    #: There is more than one view of the part, and views are not joined yet: REJECT if one says so, else the fail-safe.
    SEVERAL_VIEWS = "several-views"
    #: The part was on the belt while the belt was stopped: its position is not certain, so it gets the fail-safe.
    BELT_STOPPED = "belt-stopped"


_FAILSAFE = frozenset(
    {Why.FAILSAFE_MISSING, Why.FAILSAFE_LATE, Why.FAILSAFE_FAULT, Why.FAILSAFE_PASSED, Why.BELT_STOPPED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What to do with one part, now.

    Parameters
    ----------
    part_key, station, camera_id
        Which part, and the camera that saw it first; equal keys of one station are one part.
    action, why
        What to do, and where that comes from.
    captured_at_us, act_at_us
        UTC microseconds of the capture and of the part's arrival at the gate.
    act_at_s
        The arrival on the monotonic clock of the gate: what lateness is measured against.
    decision
        The decision that armed the part; None for a fail-safe.
    armed_at_us
        UTC microseconds at which the gate received it.
    episode_id
        Episode of drift that turned ACCEPT into REVIEW; None otherwise.
    """

    part_key: str
    station: str
    camera_id: str
    action: Action
    why: Why
    captured_at_us: int
    act_at_us: int
    act_at_s: float
    decision: Decision | None = field(default=None, repr=False)
    armed_at_us: int | None = None
    episode_id: str | None = None

    @property
    def decision_id(self) -> str | None:
        """Id of the decision behind it; None for a fail-safe."""
        return None if self.decision is None else self.decision.decision_id

    @property
    def is_failsafe(self) -> bool:
        """True if the gate took the fail-safe action, with or without a decision: too late, belt stopped, or FAULT."""
        return self.why in _FAILSAFE

    @property
    def is_decided(self) -> bool:
        """Whether a usable decision came, drift or not; parts of which this is not so lead to FAULT."""
        return self.why in (Why.DECIDED, Why.DRIFT_REVIEW)


@runtime_checkable
class Actuator(Protocol):
    """A driver: turns instructions into movement.

    The gate calls `open` once, `act` once a part at the moment the part is in front of it, `close` once. `act`
    runs on the thread that keeps the belt's time: return within a millisecond or two and let slow hardware work
    on a thread of its own. An exception out of `act` is counted and logged, and the gate goes on, so **the idle
    position of the hardware has to be the safe one**. Methods are called from one thread at a time.

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
        """Take hold of the hardware."""
        ...

    def act(self, instruction: Instruction) -> None:
        """Carry out one instruction."""
        ...

    def close(self) -> None:
        """Let go of the hardware, in its safe position. May be called again, and without `open`."""
        ...


@runtime_checkable
class LineStop(Protocol):
    """What a driver may offer besides `Actuator`: a way to stop the line.

    Both are called on the thread that calls `act`, once a change: `stop_line` when the gate goes into FAULT, or starts
    in it, and with the new reason where another FAULT follows at once; `release_line` when a person has reset it.
    Return as quickly as from `act`. A driver without them gets the fail-safe action for each part that still comes,
    and nothing else.

    Examples
    --------
    >>> class Relay:
    ...     def stop_line(self, reason: str) -> None: ...
    ...     def release_line(self) -> None: ...
    >>> isinstance(Relay(), LineStop)
    True
    """

    def stop_line(self, reason: str) -> None:
        """Stop the line; the reason is one line for a person."""
        ...

    def release_line(self) -> None:
        """Let the line be started again; starting it is a person's work."""
        ...
