"""Check if something was captured too long ago to act on."""

from __future__ import annotations

from collections.abc import Callable

from actuators.suspension import suspended_s
from schemas.clock import Clock

#: If the offset between the two clocks changes by more than this, in µs, then somebody has set the wall clock.
_SET_US = 5_000


class StalenessFilter:
    """Filter that separates history from the present, also while somebody sets the wall clock.

    The age of a capture needs the wall clock. There are two readings of it: the wall clock now, and the wall clock at
    the start plus the monotonic time since. The younger age counts. If the clock is set forward or back by an hour,
    nothing that was captured just now looks like history. (A capture that is let through wrongly finds no part waiting
    for it at a gate.) The monotonic time stands still while the machine is suspended, and that time is added: what was
    captured meanwhile is history.

    Parameters
    ----------
    max_age_s
        Captures that are older than this, in seconds, are history.
    suspension_s
        Function that returns the time for which the machine was suspended; see `actuators.suspension.suspended_s`.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock(utc_us=1_000_000_000)
    >>> age = StalenessFilter(10, clock)
    >>> clock.jump_utc(3600)
    >>> age.is_old(999_000_000), age.is_old(900_000_000)
    (False, True)
    """

    def __init__(self, max_age_s: float, clock: Clock, suspension_s: Callable[[], float] = suspended_s) -> None:
        self._max_age_us = max_age_s * 1e6
        self._clock = clock
        self._suspension_s = suspension_s
        self._offset_us = clock.utc_us() - self._running_us()

    def is_old(self, captured_at_us: int) -> bool:
        """Return True if a capture at that moment (UTC µs) is history."""
        now_us = min(self._clock.utc_us(), self._offset_us + self._running_us())
        return now_us - captured_at_us > self._max_age_us

    def _running_us(self) -> float:
        return (self._clock.monotonic_s() + self._suspension_s()) * 1e6


class CaptureAgeEstimator:
    """Age of a part's capture, also if the wall clock was set between its capture and its trigger.

    It remembers each offset between wall clock and monotonic clock for as long as a part that was captured with it may
    be on the belt. Each offset gives a reading of the age. A reading is possible if it lies between 0 and the belt
    time; the youngest possible reading counts. In the worst case the gate treats a part that passes while the clock is
    set as captured when its trigger came. It never acts on a part too early.

    Parameters
    ----------
    belt_s
        Time from camera to gate, in seconds; no part on the belt is older.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock(utc_us=10_000_000)
    >>> age = CaptureAgeEstimator(0.8, clock)
    >>> clock.advance(0.02)
    >>> clock.jump_utc(3600)
    >>> round(age.age_s(10_000_000), 3)
    0.02
    """

    def __init__(self, belt_s: float, clock: Clock) -> None:
        self._belt_s = belt_s
        self._clock = clock
        #: Wall clock less monotonic clock (µs), and its last observation (monotonic s); the current offset comes last.
        self._offsets: list[tuple[float, float]] = []
        self.update()

    def update(self) -> None:
        """Detect that the wall clock was set. Call every few milliseconds."""
        now_s = self._clock.monotonic_s()
        offset_us = self._clock.utc_us() - now_s * 1e6
        others = [
            (other_us, seen_s)
            for other_us, seen_s in self._offsets
            if abs(other_us - offset_us) > _SET_US and now_s - seen_s <= self._belt_s
        ]
        self._offsets = [*others, (offset_us, now_s)]

    def age_s(self, captured_at_us: int) -> float:
        """Return the seconds since a capture at that moment (UTC µs), from 0 to the belt time."""
        self.update()
        now_us = self._clock.monotonic_s() * 1e6
        readings = [(now_us + offset_us - captured_at_us) / 1e6 for offset_us, _ in self._offsets]
        possible = [age_s for age_s in readings if 0 <= age_s <= self._belt_s]
        return min(possible) if possible else min(max(readings[-1], 0.0), self._belt_s)
