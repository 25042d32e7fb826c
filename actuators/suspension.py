"""Time for which this machine was suspended: the monotonic clock stands still then, and the wall clock does not."""

from __future__ import annotations

import time


def suspended_s() -> float:
    """Return how long this machine has been suspended since it was started, in seconds; 0.0 if unknown."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
