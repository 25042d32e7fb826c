"""Two clocks, never mixed: UTC for records, monotonic for durations and deadlines on one machine."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What code that needs the time is given, so that tests can turn the hands."""

    def utc_us(self) -> int:
        """UTC microseconds since 1970."""
        ...

    def monotonic_s(self) -> float:
        """Seconds of a clock that only goes forward."""
        ...


class SystemClock:
    """The machine's clocks."""

    def utc_us(self) -> int:
        """UTC microseconds since 1970."""
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        """Seconds of a clock that only goes forward."""
        return time.monotonic()


class ManualClock:
    """A clock that moves when told, for tests of deadlines.

    Examples
    --------
    >>> clock = ManualClock(utc_us=1_000_000)
    >>> clock.advance(0.5)
    >>> clock.utc_us(), clock.monotonic_s()
    (1500000, 0.5)
    """

    def __init__(self, utc_us: int = 0, monotonic_s: float = 0.0) -> None:
        self._utc_us = utc_us
        self._monotonic_s = monotonic_s

    def utc_us(self) -> int:
        """UTC microseconds since 1970."""
        return self._utc_us

    def monotonic_s(self) -> float:
        """Seconds of a clock that only goes forward."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._utc_us += round(seconds * 1_000_000)
        self._monotonic_s += seconds

    def jump_utc(self, seconds: float) -> None:
        """Set the wall clock forward or back, as NTP or a person does; monotonic time does not notice."""
        self._utc_us += round(seconds * 1_000_000)
