"""The health of a worker's work: frames that come are inspected, and the broker answers. No Kafka, no asyncio."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from schemas.clock import Clock
from schemas.records import ResultState
from stream_processors.answer import Answer

#: A broker that owes a response and has sent nothing for this time, in seconds, does not answer.
SILENT_S = 7.0
#: Statistics of the client that are older than this say nothing: its thread may hang.
_STALE_S = 10.0
#: Reasons that are named, the most frequent first.
_NAMED = 3


class WorkHealth:
    """Says whether frames come and none is inspected to a verdict. Safe to use from several threads.

    A line without frames is healthy. Frames that are all shed, or all broken, are a reason, whoever is at fault:
    nothing is inspected.

    Parameters
    ----------
    limit_s
        Time without a COMPLETED answer while frames come; 0: no limit.
    clock
        Its monotonic time counts.

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
        #: When the first frame came after which none was inspected; None if there is none.
        self._since_s: float | None = None
        self._reasons: Counter[str] = Counter()

    def came(self) -> None:
        """A frame was read and is to be answered."""
        at_s = self._clock.monotonic_s()
        with self._lock:
            if self._since_s is None or self._is_idle(at_s):
                self._since_s = at_s
                self._reasons.clear()
            self._came_s = at_s
            self._waiting += 1

    def answered(self, answer: Answer) -> None:
        """An answer was acknowledged by Kafka."""
        completed = answer.decision is not None and answer.decision.result_state is ResultState.COMPLETED
        with self._lock:
            self._waiting = max(0, self._waiting - 1)
            if completed:
                self._since_s = self._clock.monotonic_s() if self._waiting else None
                self._reasons.clear()
            else:
                self._reasons[answer.shed or answer.kind or "failed"] += 1

    def trouble(self) -> str | None:
        """Return what is wrong, in one line; None if all is well."""
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
    """Says whether the brokers that a client reads from are connected and answer, from the client's statistics.

    Parameters
    ----------
    clock_s
        Seconds of a monotonic clock.

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
        """Take the statistics of a client (librdkafka, STATISTICS.md)."""
        brokers = [each for each in json.loads(statistics)["brokers"].values() if each["nodeid"] >= 0]
        # Those that lead partitions which are read; before there are any, one that answers is enough.
        leaders = [each for each in brokers if each["toppars"]]
        self._is_connected = all(map(_answers, leaders)) if leaders else any(map(_answers, brokers))
        self._at_s = self._clock_s()

    @property
    def connected(self) -> bool | None:
        """True if they answer; None before anything is known."""
        if self._is_connected is None:
            return None
        return self._is_connected and self._clock_s() - self._at_s < _STALE_S


def _answers(broker: dict[str, Any]) -> bool:
    # A broker that is asked nothing, as when the worker has enough to do, is silent and well.
    is_silent = broker["waitresp_cnt"] > 0 and min(broker["rxidle"], broker["txidle"]) >= SILENT_S * 1e6
    return broker["state"] == "UP" and not is_silent
