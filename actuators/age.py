"""Whether something was captured too long ago to act on."""

from __future__ import annotations

from schemas.clock import Clock


class Age:
    """Tells history from the present, also while somebody sets the wall clock.

    A capture's age needs the wall clock. Of two readings, the wall clock now and the wall clock at the start plus the
    monotonic time since, the younger age counts: set forward or back by an hour, the clock makes nothing
    of this moment look like history. (What slips through that way finds no part waiting for it at a gate.)

    Parameters
    ----------
    max_age_s
        Anything older, in seconds, is history.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock(utc_us=1_000_000_000)
    >>> age = Age(10, clock)
    >>> clock.jump_utc(3600)
    >>> age.is_old(999_000_000), age.is_old(900_000_000)
    (False, True)
    """

    def __init__(self, max_age_s: float, clock: Clock) -> None:
        self._max_age_us = max_age_s * 1e6
        self._clock = clock
        self._offset_us = clock.utc_us() - clock.monotonic_s() * 1e6

    def is_old(self, captured_at_us: int) -> bool:
        """Whether a capture at that moment (UTC µs) is history."""
        now_us = min(self._clock.utc_us(), self._offset_us + self._clock.monotonic_s() * 1e6)
        return now_us - captured_at_us > self._max_age_us
