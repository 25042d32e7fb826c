"""Whether something was captured too long ago to act on."""

from __future__ import annotations

from schemas.clock import Clock

#: Readings of the two clocks that lie further apart than this, in µs, tell that the wall clock was set.
_SET_US = 5_000


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


class CaptureAge:
    """How long ago a part was captured, also when the wall clock was set between its capture and its trigger.

    It remembers how the wall clock stood against the monotonic one while any part now on the belt can have been
    captured. Each of these gives a reading of the age; of those that are possible, between 0 and the belt time, the
    youngest counts: at worst a part of the moment of a jump is treated as captured when its trigger came, and never
    is one acted on early.

    Parameters
    ----------
    belt_s
        From camera to gate: no part on the belt is older.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock(utc_us=10_000_000)
    >>> age = CaptureAge(0.8, clock)
    >>> clock.advance(0.02)
    >>> clock.jump_utc(3600)
    >>> round(age.of(10_000_000), 3)
    0.02
    """

    def __init__(self, belt_s: float, clock: Clock) -> None:
        self._belt_s = belt_s
        self._clock = clock
        #: Wall clock less monotonic clock (µs), and when it was last so (monotonic s); the present one comes last.
        self._offsets: list[tuple[float, float]] = []
        self.look()

    def look(self) -> None:
        """Notice a clock that was set; called every few milliseconds."""
        now_s = self._clock.monotonic_s()
        offset_us = self._clock.utc_us() - now_s * 1e6
        others = [
            (other_us, seen_s)
            for other_us, seen_s in self._offsets
            if abs(other_us - offset_us) > _SET_US and now_s - seen_s <= self._belt_s
        ]
        self._offsets = [*others, (offset_us, now_s)]

    def of(self, captured_at_us: int) -> float:
        """Seconds since a capture at that moment (UTC µs), from 0 to the belt time."""
        self.look()
        now_us = self._clock.monotonic_s() * 1e6
        readings = [(now_us + offset_us - captured_at_us) / 1e6 for offset_us, _ in self._offsets]
        possible = [age_s for age_s in readings if 0 <= age_s <= self._belt_s]
        return min(possible) if possible else min(max(readings[-1], 0.0), self._belt_s)
