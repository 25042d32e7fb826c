"""Health of a worker's work: incoming frames are inspected. No Kafka, no asyncio."""

from __future__ import annotations

import threading
from collections import Counter

from schemas.clock import Clock
from schemas.records import ResultState
from stream_processors.worker.frame_task import ProcessingResult

#: Number of reasons that are named, the most frequent first.
_NAMED = 3


class WorkHealth:
    """Detection of a worker that gets frames but inspects none of them to a verdict. Thread-safe.

    A line without frames is healthy. If all frames are shed, or all are broken, the worker is unhealthy, whatever the
    cause: no frame is inspected.

    Parameters
    ----------
    limit_s
        Most seconds without a COMPLETED answer while frames come; 0: no limit.
    clock
        Clock whose monotonic time is used.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock()
    >>> health = WorkHealth(30, clock)
    >>> health.came()
    >>> clock.advance(31)
    >>> health.trouble()
    'frames come and none was inspected for 31 s; 1 wait'
    """

    def __init__(self, limit_s: float, clock: Clock) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting = 0
        self._came_s = float("-inf")
        #: Time of the first frame since the last inspected one; None if there is no such frame.
        self._since_s: float | None = None
        self._reasons: Counter[str] = Counter()

    def came(self) -> None:
        """Record that a frame was read and must be answered."""
        at_s = self._clock.monotonic_s()
        with self._lock:
            if self._since_s is None or self._is_idle(at_s):
                self._since_s = at_s
                self._reasons.clear()
            self._came_s = at_s
            self._waiting += 1

    def answered(self, answer: ProcessingResult) -> None:
        """Record that Kafka has acknowledged an answer."""
        completed = answer.decision is not None and answer.decision.result_state is ResultState.COMPLETED
        with self._lock:
            self._waiting = max(0, self._waiting - 1)
            if completed:
                self._since_s = self._clock.monotonic_s() if self._waiting else None
                self._reasons.clear()
            else:
                self._reasons[answer.shed or answer.kind or "failed"] += 1

    def trouble(self) -> str | None:
        """Return the fault in one line; None if there is no fault."""
        at_s = self._clock.monotonic_s()
        with self._lock:
            if not self._limit_s or self._since_s is None or self._is_idle(at_s):
                return None
            quiet_s = at_s - self._since_s
            if quiet_s < self._limit_s:
                return None
            reasons = [f"{count} {word}" for word, count in self._reasons.most_common(_NAMED)]
            if self._waiting:
                reasons.append(f"{self._waiting} wait")
            return f"frames come and none was inspected for {quiet_s:.0f} s; {', '.join(reasons)}"

    def _is_idle(self, at_s: float) -> bool:
        return not self._waiting and at_s - self._came_s >= self._limit_s
