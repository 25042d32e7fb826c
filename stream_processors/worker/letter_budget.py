"""Budget for dead letters of a worker: a flood of unreadable messages must not fill the broker's disk."""

from __future__ import annotations

import threading

from schemas.clock import Clock

#: Bytes per second, and most bytes at once.
RATE_BYTES_S, BURST_BYTES = 1024 * 1024, 32 * 1024 * 1024


class LetterBudget:
    """Token bucket of bytes. Thread-safe.

    Parameters
    ----------
    clock
        Monotonic time.
    rate_bytes_s, burst_bytes
        Rate at which the bucket fills, and its size.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock(0)
    >>> budget = LetterBudget(clock, rate_bytes_s=10, burst_bytes=100)
    >>> budget.take(90), budget.take(20)
    (True, False)
    >>> clock.advance(1.5)
    >>> budget.take(20)
    True
    """

    def __init__(self, clock: Clock, rate_bytes_s: float = RATE_BYTES_S, burst_bytes: float = BURST_BYTES) -> None:
        self._clock = clock
        self._rate_bytes_s, self._burst_bytes = rate_bytes_s, burst_bytes
        self._left_bytes = burst_bytes
        self._at_s = clock.monotonic_s()
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        """Take bytes from the bucket; if it has fewer, take none and return False."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            filled = self._left_bytes + (now_s - self._at_s) * self._rate_bytes_s
            self._left_bytes, self._at_s = min(self._burst_bytes, filled), now_s
            if size_bytes > self._left_bytes:
                return False
            self._left_bytes -= size_bytes
            return True
