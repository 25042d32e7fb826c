"""FAULT: too many parts in a row without a usable decision, or drift where it stops the line; a person has to look."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from schemas.clock import Clock


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the line was stopped.

    Parameters
    ----------
    fault_id
        Names this fault: a reset ends the one it names, never a later one.
    since_us
        UTC microseconds.
    reason
        One line for the person who comes to look.
    in_a_row
        Parts in a row without a usable decision at that moment; 0 if it came otherwise.
    """

    fault_id: str
    since_us: int
    reason: str
    in_a_row: int = 0


class FaultLatch:
    """Counts parts without a usable decision and latches after so many in a row; only `clear` ends it.

    Pure: no files, no threads. It lives within `PartTracker`, under the gate's lock, so that the very next part after
    the last straw is treated as in FAULT.

    Parameters
    ----------
    after
        How many in a row; 0: never.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> latch = FaultLatch(2, ManualClock())
    >>> for decided in (False, True, False, False, True):
    ...     latch.note(decided)
    >>> latch.is_latched, latch.fault.reason
    (True, '2 parts in a row without a usable decision')
    >>> latch.clear()
    >>> latch.is_latched, latch.in_a_row
    (False, 0)
    """

    def __init__(self, after: int, clock: Clock) -> None:
        self._after = after
        self._clock = clock
        self.fault: Fault | None = None
        self.in_a_row = 0
        #: Faults since the start; one brought along from a former run is not counted again.
        self.times = 0

    @property
    def is_latched(self) -> bool:
        """Whether the gate is in FAULT."""
        return self.fault is not None

    def note(self, is_decided: bool) -> None:
        """Take note of what one part got: what its decision said, or something safe in its stead."""
        if is_decided:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        if self.fault is None and self.in_a_row == self._after > 0:
            parts = "1 part" if self.in_a_row == 1 else f"{self.in_a_row} parts"
            reason = f"{parts} in a row without a usable decision"
            self.trip(new_fault(reason, self._clock.utc_us(), self.in_a_row))

    def trip(self, fault: Fault) -> None:
        """Latch for another reason than a row of parts; a fault that holds already stays the one."""
        if self.fault is None:
            self.fault = fault
            self.times += 1

    def restore(self, fault: Fault) -> None:
        """Latch with the fault of a former run."""
        self.fault = fault

    def clear(self) -> None:
        """A person has looked: count anew."""
        self.fault = None
        self.in_a_row = 0


def new_fault(reason: str, now_us: int, in_a_row: int = 0) -> Fault:
    """A fault with an id of its own."""
    return Fault(uuid.uuid4().hex[:12], now_us, reason, in_a_row)
