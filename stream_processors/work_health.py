"""Health of a worker's work: incoming frames are inspected, and the broker answers. No Kafka, no asyncio."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from schemas.clock import Clock
from schemas.records import ResultState
from stream_processors.answer import Answer

#: Time after which a broker that owes a response counts as unreachable, in seconds.
SILENT_S = 7.0
#: Longest age of statistics of the client, in seconds; older ones are ignored, because its thread may hang.
_STALE_S = 10.0
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

    def answered(self, answer: Answer) -> None:
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


class BrokerContact:
    """Check that the brokers which a client reads from are connected and answer, from the client's statistics.

    Parameters
    ----------
    clock_s
        Function that returns seconds of a monotonic clock.

    Examples
    --------
    >>> contact = BrokerContact(lambda: 0.0)
    >>> contact.connected is None
    True
    >>> broker = {"nodeid": 1, "state": "UP", "waitresp_cnt": 1, "rxidle": 10, "txidle": 20, "toppars": {}}
    >>> contact.saw(json.dumps({"brokers": {"kafka:9092/1": broker}}))
    >>> contact.connected
    True
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._is_connected: bool | None = None
        self._at_s = 0.0

    def saw(self, statistics: str) -> None:
        """Process the statistics of a client (librdkafka, STATISTICS.md)."""
        brokers = [each for each in json.loads(statistics)["brokers"].values() if each["nodeid"] >= 0]
        # Leaders of the partitions that are read; without such partitions one broker that answers is enough.
        leaders = [each for each in brokers if each["toppars"]]
        self._is_connected = all(map(_answers, leaders)) if leaders else any(map(_answers, brokers))
        self._at_s = self._clock_s()

    @property
    def connected(self) -> bool | None:
        """True if the brokers are connected and answer; None if unknown."""
        if self._is_connected is None:
            return None
        return self._is_connected and self._clock_s() - self._at_s < _STALE_S


def _answers(broker: dict[str, Any]) -> bool:
    # A broker without a request is silent but healthy, for example while the worker is busy.
    is_silent = broker["waitresp_cnt"] > 0 and min(broker["rxidle"], broker["txidle"]) >= SILENT_S * 1e6
    return broker["state"] == "UP" and not is_silent
