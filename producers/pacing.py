"""Frames at a steady rate: no drift, and no burst after a late one."""

from __future__ import annotations

import math

from schemas.clock import Clock, SystemClock


class Pacer:
    """Says how long to wait before the next capture.

    Beats lie on a fixed grid of the monotonic clock, so that the time a capture takes does not add up.
    Whoever comes late goes at once and skips the beats that were missed.

    Parameters
    ----------
    fps
        Captures a second; None never waits.
    phase
        How much later than now the grid begins, as a share of the period: cameras that are not triggered
        together do not fire together.

    Raises
    ------
    ValueError
        If the rate is not a positive number, or the phase not in [0, 1).

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
        if fps is not None and not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"frames per second must be more than 0, not {fps}")
        if not 0 <= phase < 1:
            raise ValueError(f"a phase is a share of the period, not {phase}")
        self._phase = phase
        self._period_s = 0.0 if fps is None else 1.0 / fps
        self._clock = clock or SystemClock()
        self._start_s: float | None = None
        self._beat = 0
        #: Beats skipped so far: nothing was captured then.
        self.missed = 0

    def delay_s(self) -> float:
        """Seconds to wait from now until the next capture is due; moves on by one beat."""
        if not self._period_s:
            return 0.0
        now = self._clock.monotonic_s()
        if self._start_s is None:
            offset_s = self._phase * self._period_s
            self._start_s = now + offset_s
            return offset_s
        # The grid is counted from the start, not from the last beat: adding up periods would add up rounding too.
        elapsed = (now - self._start_s) / self._period_s
        beat = max(self._beat + 1, math.floor(elapsed))
        self.missed += beat - self._beat - 1
        self._beat = beat
        return max(0.0, self._start_s + self._beat * self._period_s - now)
