"""Detection of unreadable messages in a row: a gate that can read nothing sees no part and no decision."""

from __future__ import annotations

import threading

from actuators.counts import ConsumerCounts
from actuators.fault import FaultLatch, new_fault
from schemas.clock import Clock

#: A row shorter than this, in seconds, is not a fault: it may be a stranger's burst between two messages of the line.
PATIENCE_S = 2.0


class UnreadableRow:
    """Counter of unreadable messages in a row of one topic; a readable message ends the row. Thread-safe.

    Parameters
    ----------
    what
        Kind of messages, for the reason: ``decisions``.
    after
        Number of messages in a row that is a fault; 0: never.
    patience_s
        Time since the first message of the row, in seconds, before the row is a fault.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock()
    >>> row = UnreadableRow("decisions", 2, clock)
    >>> row.count(is_readable=False); row.count(is_readable=False)
    >>> row.take_fault() is None
    True
    >>> clock.advance(2.1)
    >>> row.take_fault()
    '2 decisions in a row cannot be read, and none can'
    """

    def __init__(self, what: str, after: int, clock: Clock, patience_s: float = PATIENCE_S) -> None:
        self._what = what
        self._after = after
        self._clock = clock
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._began_s = 0.0
        self._in_a_row = 0

    def count(self, *, is_readable: bool) -> None:
        """Count a message."""
        with self._lock:
            if is_readable:
                self._in_a_row = 0
                return
            if self._in_a_row == 0:
                self._began_s = self._clock.monotonic_s()
            self._in_a_row += 1

    def take_fault(self) -> str | None:
        """Return the reason for a FAULT and begin a new row; None if the row is too short or too young for a FAULT."""
        with self._lock:
            is_long = self._in_a_row >= self._after > 0
            if not is_long or self._clock.monotonic_s() - self._began_s < self._patience_s:
                return None
            number, self._in_a_row = self._in_a_row, 0
        return f"{number} {self._what} in a row cannot be read, and none can"


class Readability:
    """Detection of a gate that can no longer read its decisions, or its triggers if they are messages too.

    Parameters
    ----------
    after
        See `UnreadableRow`.
    """

    def __init__(self, after: int, clock: Clock) -> None:
        self._clock = clock
        self.decisions = UnreadableRow("decisions", after, clock)
        self.triggers = UnreadableRow("triggers", after, clock)
        self._counts = ConsumerCounts()

    def check(self, counts: ConsumerCounts) -> None:
        """Count the decisions that were read since the last call."""
        before, self._counts = self._counts, counts
        if counts.undecodable > before.undecodable:
            for _ in range(counts.undecodable - before.undecodable):
                self.decisions.count(is_readable=False)
        if _readable(counts) > _readable(before):
            self.decisions.count(is_readable=True)

    def stop(self, latch: FaultLatch) -> None:
        """Latch a FAULT if nothing can be read any more. Call under the lock of the latch."""
        for row in (self.decisions, self.triggers):
            reason = row.take_fault()
            if reason is not None:
                latch.trip(new_fault(reason, self._clock.utc_us()))


def _readable(counts: ConsumerCounts) -> int:
    return counts.delivered + counts.duplicates + counts.skipped_old + counts.other_station
