"""Pacing of captures at a steady rate, without drift, and without a burst after a late capture."""

from __future__ import annotations

import math

from schemas.clock import Clock, SystemClock

#: Slowest and quickest rate, in captures per second. Waits of centuries overflow in the system's calls.
_LOWEST_FPS, _HIGHEST_FPS = 1 / 86_400, 1e6


def check_fps(fps: float | None) -> None:
    """Check a rate in captures per second; None is no rate.

    Raises
    ------
    ValueError
        If the rate is below one capture a day or above a million a second.

    Examples
    --------
    >>> check_fps(0.5)
    >>> check_fps(0.0)
    Traceback (most recent call last):
    ValueError: from one frame a day (0.0000116) to 1000000 a second
    """
    if fps is not None and not _LOWEST_FPS <= fps <= _HIGHEST_FPS:
        raise ValueError(f"from one frame a day (0.0000116) to {_HIGHEST_FPS:.0f} a second")


class Pacer:
    """Pacer that computes the wait before the next capture.

    Beats lie on a fixed grid of the monotonic clock, so that the durations of captures do not add up. A late caller
    does not wait, and skips the beats that it missed.

    Parameters
    ----------
    fps
        Captures per second; None: without a wait.
    phase
        Delay of the start of the grid, as a share of the period: cameras that are not triggered together do not fire
        together.

    Raises
    ------
    ValueError
        If the rate is below one capture a day or above a million a second, or the phase not in [0, 1).

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock()
    >>> pacer = Pacer(10, clock)
    >>> pacer.delay_s()
    0.0
    >>> clock.advance(0.03)
    >>> round(pacer.delay_s(), 3)
    0.07
    >>> clock.advance(0.45)
    >>> pacer.delay_s(), pacer.missed
    (0.0, 2)
    """

    def __init__(self, fps: float | None, clock: Clock | None = None, phase: float = 0.0) -> None:
        check_fps(fps)
        if not 0 <= phase < 1:
            raise ValueError(f"a phase is a share of the period, not {phase}")
        self._phase = phase
        self._period_s = 0.0 if fps is None else 1.0 / fps
        self._clock = clock or SystemClock()
        self._start_s: float | None = None
        self._beat = 0
        #: Number of beats skipped so far, each without a capture.
        self.missed = 0

    def delay_s(self) -> float:
        """Move on by one beat, and return the seconds to wait until this capture is due."""
        if not self._period_s:
            return 0.0
        now = self._clock.monotonic_s()
        if self._start_s is None:
            offset_s = self._phase * self._period_s
            self._start_s = now + offset_s
            return offset_s
        # The grid is counted from the start, not from the last beat: adding up periods would also add up rounding.
        elapsed = (now - self._start_s) / self._period_s
        beat = max(self._beat + 1, math.floor(elapsed))
        self.missed += beat - self._beat - 1
        self._beat = beat
        return max(0.0, self._start_s + self._beat * self._period_s - now)
