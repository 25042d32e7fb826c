"""FAULT: too many parts in a row without a usable decision, or drift that stops the line. A person has to look."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from schemas.clock import Clock


@dataclass(frozen=True, slots=True)
class Fault:
    """Reason why the line was stopped.

    Parameters
    ----------
    fault_id
        Id of this fault: a reset ends the fault that it names, never a later one.
    since_us
        UTC microseconds.
    reason
        One line of text for the person who examines the line.
    in_a_row
        Parts in a row without a usable decision at that moment; 0 if the fault has another reason.
    """

    fault_id: str
    since_us: int
    reason: str
    in_a_row: int = 0


class FaultLatch:
    """Latch that sets a fault after a number of parts in a row without a usable decision; only `clear` ends the fault.

    Pure: no files, no threads. `PartTracker` owns it, under the gate's lock, so that FAULT already applies to the very
    next part.

    Parameters
    ----------
    after
        Number of parts in a row; 0: never.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> latch = FaultLatch(2, ManualClock())
    >>> for decided in (False, True, False, False, True):
    ...     latch.count_part(decided)
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
        #: Number of faults since the start; a fault of a former run is not counted again.
        self.times = 0

    @property
    def is_latched(self) -> bool:
        """True if the gate is in FAULT."""
        return self.fault is not None

    def count_part(self, is_decided: bool) -> None:
        """Count one part; ``is_decided`` is True if the gate followed a usable decision."""
        if is_decided:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        if self.fault is None and self.in_a_row == self._after > 0:
            parts = "1 part" if self.in_a_row == 1 else f"{self.in_a_row} parts"
            reason = f"{parts} in a row without a usable decision"
            self.trip(new_fault(reason, self._clock.utc_us(), self.in_a_row))

    def trip(self, fault: Fault) -> None:
        """Latch for another reason than a row of parts; an earlier fault remains in force."""
        if self.fault is None:
            self.fault = fault
            self.times += 1

    def restore(self, fault: Fault) -> None:
        """Latch with the fault of a former run."""
        self.fault = fault

    def clear(self) -> None:
        """End the fault after a person has looked, and count from zero again."""
        self.fault = None
        self.in_a_row = 0


def new_fault(reason: str, now_us: int, in_a_row: int = 0) -> Fault:
    """Return a fault with a new id."""
    return Fault(uuid.uuid4().hex[:12], now_us, reason, in_a_row)
