"""Two clocks, never mixed: UTC for records, monotonic for durations and deadlines on one machine."""

from __future__ import annotations

import time
from typing import Protocol

#: Clocks of machines that are set by NTP differ by less.
MAX_AHEAD_US = 300_000_000


def is_future(us: int, now_us: int) -> bool:
    """Return True if a time of another machine's clock is later than now by more than five minutes.

    Examples
    --------
    >>> is_future(299_000_000, 0), is_future(301_000_000, 0)
    (False, True)
    """
    return us > now_us + MAX_AHEAD_US


def clamp_future(us: int, now_us: int) -> int:
    """Return a time, or now if it `is_future`: a clock that is ahead must not be the newest for ever.

    For a record that was written to Kafka earlier, "now" is the time of writing: otherwise the rule would have another
    result each time that it is applied.

    Examples
    --------
    >>> clamp_future(4_102_444_800_000_000, 1_795_000_000_000_000)
    1795000000000000
    >>> clamp_future(5, 7)
    5
    """
    return now_us if is_future(us, now_us) else us


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
