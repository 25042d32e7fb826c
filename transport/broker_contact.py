"""Contact of a client with its brokers, from the client's statistics. No Kafka, no asyncio."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

#: Time after which a broker that owes a response counts as unreachable, in seconds.
SILENT_S = 7.0
#: Longest age of statistics of the client, in seconds; older ones are ignored, because its thread may hang.
_STALE_S = 10.0


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
