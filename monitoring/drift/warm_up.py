"""Warm-up of a camera: the time after its first decision, and after each gap.

Each morning a cold lamp is darker than usual, and so are the images. In a warm-up everything is watched and shown,
but an episode that begins in it is marked, so that gates do not act. At its end the detectors begin from scratch: a
deviation after that is an ordinary episode.

A gap counts only if both clocks agree, the camera's and the worker's: decisions that wait for a worker, and a camera
whose clock jumps, do not make a gap. Frames that were published again are all decided within minutes, so for them the
camera's clock alone counts.
"""

from __future__ import annotations

from typing import Any

from monitoring.checked import MAX_LONG, fields, flag, items, whole
from monitoring.drift.options import DriftOptions
from schemas.records import Decision

_US_PER_S = 1_000_000


class WarmUp:
    """Detector of decisions that lie in a warm-up.

    Parameters
    ----------
    options
        Length of a warm-up, in frames or seconds, and of a gap.
    """

    def __init__(self, options: DriftOptions) -> None:
        self._frames = options.warm_up_frames
        self._length_us = round(options.warm_up_s * _US_PER_S)
        self._gap_us = round(options.warm_up_gap_s * _US_PER_S)
        self._is_simulated = options.simulated
        self._last: tuple[int, int] | None = None
        self._began_us = 0
        self._seen = 0
        #: True from a start or gap until the warm-up is over.
        self.is_on = False
        #: Number of warm-ups that began while another one was on.
        self.repeated = 0

    def advance(self, decision: Decision) -> bool:
        """Process the next decision; return True if a warm-up has ended before it."""
        if not self._frames and not self._length_us:
            return False
        last, self._last = self._last, (decision.captured_at_us, decision.decided_at_us)
        if last is None or self._gap(last, self._last) >= self._gap_us:
            self.repeated += self.is_on
            self.is_on, self._seen, self._began_us = True, 1, decision.captured_at_us
            return False
        if not self.is_on:
            return False
        self._seen += 1
        passed_us = decision.captured_at_us - self._began_us
        # A clock that went back must not make an endless warm-up.
        self.is_on = self._seen <= self._frames or 0 <= passed_us < self._length_us
        return not self.is_on

    def _gap(self, last: tuple[int, int], now: tuple[int, int]) -> int:
        captured_us, decided_us = now[0] - last[0], now[1] - last[1]
        return captured_us if self._is_simulated else min(captured_us, decided_us)

    def state(self) -> Any:
        """Return the whole state as JSON."""
        return {"last": self._last, "began_us": self._began_us, "seen": self._seen, "is_on": self.is_on}

    def restore(self, state: Any) -> None:
        """Resume from a `state`; raise ValueError for anything else."""
        state = fields(state, ("last", "began_us", "seen", "is_on"))
        if state["last"] is not None:
            captured_at_us, decided_at_us = items(state["last"], 2, 2)
            self._last = whole(captured_at_us, -MAX_LONG - 1), whole(decided_at_us, -MAX_LONG - 1)
        self._began_us, self._seen = whole(state["began_us"], -MAX_LONG - 1), whole(state["seen"])
        self.is_on = flag(state["is_on"])
