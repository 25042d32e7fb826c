"""Lateness of a gate's acts, as a histogram."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

#: Upper bounds in ms: waiting costs 5 ms at most, the machine causes the rest.
BOUNDS_MS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0)


@dataclass(frozen=True, slots=True)
class Lateness:
    """Snapshot: acts by lateness (one count for each of `BOUNDS_MS`, and one above), and sum and worst in ms."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_MS) + 1)
    sum_ms: float = 0.0
    worst_ms: float = 0.0


class LatenessCounts:
    """Collector of lateness.

    Examples
    --------
    >>> counts = LatenessCounts()
    >>> for lateness_ms in (0.1, 0.5, 3.0, 900.0):
    ...     counts.add(lateness_ms)
    >>> counts.snapshot().counts, counts.snapshot().worst_ms
    ((2, 0, 0, 1, 0, 0, 0, 0, 0, 1), 900.0)
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_MS) + 1)
        self._sum_ms = 0.0
        self._worst_ms = 0.0

    def add(self, lateness_ms: float) -> None:
        """Count one act with its lateness in ms."""
        self._counts[bisect_left(BOUNDS_MS, lateness_ms)] += 1
        self._sum_ms += lateness_ms
        self._worst_ms = max(self._worst_ms, lateness_ms)

    def snapshot(self) -> Lateness:
        """Return the counts so far."""
        return Lateness(tuple(self._counts), self._sum_ms, self._worst_ms)
