"""Two clocks, never mixed: UTC for records, monotonic for durations and deadlines on one machine."""

from __future__ import annotations

import time
from typing import Protocol

#: Clocks of machines that NTP sets differ by less than this, in microseconds.
MAX_AHEAD_US = 300_000_000


def is_future(us: int, now_us: int) -> bool:
    """Return True if a time from another machine's clock is later than now by more than five minutes.

    Examples
    --------
    >>> is_future(299_000_000, 0), is_future(301_000_000, 0)
    (False, True)
    """
    return us > now_us + MAX_AHEAD_US


def clamp_future(us: int, now_us: int) -> int:
    """Return a time, or now if the time `is_future`.

    Otherwise the records of a clock that is ahead would stay the newest for ever. For a record that was written to
    Kafka earlier, pass the time of writing as "now": otherwise the rule would return another result each time that it
    is applied.

    Examples
    --------
    >>> clamp_future(4_102_444_800_000_000, 1_795_000_000_000_000)
    1795000000000000
    >>> clamp_future(5, 7)
    5
    """
    return now_us if is_future(us, now_us) else us


class Clock(Protocol):
    """Source of time for code that needs one; tests replace it by a `ManualClock`."""

    def utc_us(self) -> int:
        """Return the UTC time in microseconds since 1970."""
        ...

    def monotonic_s(self) -> float:
        """Return the seconds of a clock that only goes forward."""
        ...


class SystemClock:
    """Clocks of this machine."""

    def utc_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return time.monotonic()


class ManualClock:
    """Clock that only moves when a test advances it.

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
        return self._utc_us

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self._utc_us += round(seconds * 1_000_000)
        self._monotonic_s += seconds

    def jump_utc(self, seconds: float) -> None:
        """Set the wall clock forward or back, as NTP or a person does; monotonic time does not change."""
        self._utc_us += round(seconds * 1_000_000)
