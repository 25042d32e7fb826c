"""Belt from the gate's view: moving or stopped, and the times when the gate itself was suspended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from actuators.belt_file import CHECK_INTERVAL_S, BeltFile
from actuators.suspension import suspended_s
from actuators.tracker import PartTracker
from schemas.clock import Clock

log = logging.getLogger(__name__)

#: If the machine was suspended for longer than this, in seconds, the gate cannot know where the parts on the belt are.
_SUSPENDED_S = 0.5


class BeltWatch:
    """Belt of a gate: suspends the schedule of a tracker while it is stopped, and notices a gate that was suspended.

    The belt counts as stopped after `stop`, or while another process keeps the file in the state directory. The
    monotonic clock stops while the machine is suspended, but the belt does not: after that no position is known.

    Parameters
    ----------
    lock
        Lock that guards the tracker.
    state_dir
        Directory of the file; None if there is no file.
    gap_s
        Longest time between two checks of the belt, in seconds; the gate reports a longer gap.
    suspension_s
        Function that returns the time for which the machine was suspended; see `suspended_s`.
    """

    def __init__(
        self,
        tracker: PartTracker,
        lock: threading.Lock,
        clock: Clock,
        state_dir: Path | None,
        *,
        gap_s: float,
        suspension_s: Callable[[], float] = suspended_s,
    ) -> None:
        self._tracker = tracker
        self._lock = lock
        self._clock = clock
        self._file = None if state_dir is None else BeltFile(state_dir, clock)
        self._gap_s = gap_s
        self._suspension_s = suspension_s
        self._suspended_before_s = suspension_s()
        self._is_reported = False
        self._is_on_file = False
        self._is_over = False
        self._next_check_s = float("-inf")
        self._checked_s: float | None = None
        #: Number of times that the gate itself was suspended.
        self.gaps = 0

    def stop(self) -> None:
        """Record that the line reports a stopped belt. Thread-safe."""
        with self._lock:
            self._is_reported = True
            self._apply()

    def move(self) -> None:
        """Record that the line reports a moving belt. Thread-safe."""
        with self._lock:
            self._is_reported = False
            self._apply()

    def check(self) -> None:
        """Check belt, file and clocks. Call under the lock every few milliseconds, before the gate acts on parts."""
        now_s = self._clock.monotonic_s()
        if self._checked_s is not None and now_s - self._checked_s > self._gap_s > 0:
            self.gaps += 1
            log.error(
                "the gate stood still for %.1f s: parts that passed it meanwhile get the fail-safe now",
                now_s - self._checked_s,
            )
        self._checked_s = now_s
        now_suspended_s = self._suspension_s()
        if now_suspended_s - self._suspended_before_s > _SUSPENDED_S:
            self.gaps += 1
            log.error(
                "this machine was suspended for %.1f s: %d parts on the belt get the fail-safe",
                now_suspended_s - self._suspended_before_s, self._tracker.arrivals.void(),
            )  # fmt: skip
        self._suspended_before_s = now_suspended_s
        if self._file is not None and now_s >= self._next_check_s:
            self._next_check_s = now_s + CHECK_INTERVAL_S
            self._is_on_file = self._file.is_stopped()
        self._apply()

    def end(self) -> None:
        """Apply the fail-safe to the parts on a stopped belt now, because the gate ends. Call under the lock."""
        self._is_over = True
        self._tracker.arrivals.end(self._clock.monotonic_s())

    def _apply(self) -> None:
        is_stopped = self._is_reported or self._is_on_file
        if self._is_over or is_stopped == self._tracker.arrivals.is_stopped:
            return
        if is_stopped:
            self._tracker.stop_belt()
            log.warning("the belt stands: %d parts on it get the fail-safe", self._tracker.pending)
        else:
            self._tracker.move_belt()
            log.warning("the belt moves again")
