"""The end of a topic, followed without a consumer group."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.cluster import require_topics
from schemas.errors import BrokerUnavailable

log = logging.getLogger(__name__)
_OPEN_TIMEOUT_S = 10.0
_RETRY_S = 0.05
#: How often librdkafka tells how its connections are.
_STATISTICS_MS = 250
#: A broker that is well answers a fetch within half a second (``fetch.wait.max.ms``), also where nothing is said.
_SILENT_S = 3.0
_STALE_EVENTS = 8
_PASSING_ERRORS = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,
    }
)


class Tail:
    """Messages of every partition of a topic from its end on, or from given offsets.

    Once open it never raises for what happens to the broker: librdkafka reconnects and resumes where it was, and
    `connected` says how things are. Partitions that are added to the topic later are read after the next `open`.

    Parameters
    ----------
    topic
        Name of the topic.
    fetch_bytes
        Most bytes fetched ahead into memory.
    tells_end
        Whether `reached_end` is kept.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        From `open`.
    """

    def __init__(
        self, bootstrap_servers: str, topic: str, *, fetch_bytes: int = 8 * 1024 * 1024, tells_end: bool = False
    ) -> None:
        self.topic = topic
        self._bootstrap_servers = bootstrap_servers
        self._fetch_bytes = fetch_bytes
        self._tells_end = tells_end
        self._not_ended: set[int] = set()
        self._consumer: Consumer | None = None
        self._up = threading.Event()
        self._contact_s: float | None = None
        self.errors = 0

    @property
    def connected(self) -> bool:
        """Whether the brokers that lead the partitions are connected and answer.

        Kept up to date by polling: false at most half a second after a connection broke, and at most 3.5 s after a
        broker fell silent that keeps its connections (frozen, or cut off from the network).
        """
        age_s = self.contact_age_s
        return self._up.is_set() and age_s is not None and age_s < _SILENT_S

    @property
    def contact_age_s(self) -> float | None:
        """Seconds since a broker was heard of, the most silent one of those that lead; None before `open`."""
        return None if self._contact_s is None else max(0.0, time.monotonic() - self._contact_s)

    @property
    def reached_end(self) -> bool:
        """Whether all that was there at `open` has been read, if the tail tells that."""
        return self._tells_end and self.is_open and not self._not_ended

    @property
    def is_open(self) -> bool:
        """Whether the offsets to begin at are fixed: what is produced from now on will be read."""
        return self._consumer is not None

    def open(self, resume: Mapping[int, int] | None = None) -> dict[int, int]:
        """Assign every partition and return the offsets begun at.

        Parameters
        ----------
        resume
            Next offset by partition, from a former run. A partition that it does not name was added since and is
            read from its beginning; an offset beyond the end (the topic was made anew) begins at the end.
        """
        count = require_topics(self._bootstrap_servers, [self.topic])[self.topic]
        consumer = Consumer(self._config(), logger=log)
        try:
            starts = {partition: self._start(consumer, partition, resume) for partition in range(count)}
        except KafkaException as error:
            consumer.close()
            raise BrokerUnavailable(self._bootstrap_servers, error.args[0].str()) from error
        # Statistics from before the first connection are waiting by now; they say nothing of how things are.
        for _ in range(_STALE_EVENTS):
            consumer.poll(0)
        consumer.assign([TopicPartition(self.topic, partition, offset) for partition, offset in starts.items()])
        self._not_ended = set(starts)
        self._consumer = consumer
        self._contact_s = time.monotonic()
        self._up.set()
        return starts

    def poll(self, timeout_s: float) -> Message | None:
        """The next message, None if none comes in time or before `open`. Errors are counted and logged."""
        if self._consumer is None:
            return None
        message = self._consumer.poll(timeout_s)
        if message is None:
            return None
        error = message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            self._not_ended.discard(message.partition() or 0)
            return None
        if error is not None:
            self.errors += 1
            log.warning("%s: %s", self.topic, error.str())
            return None
        return message

    def close(self) -> None:
        """Leave; may be called again."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self._up.clear()
        self._contact_s = None

    def _config(self) -> dict[str, object]:
        return {
            "bootstrap.servers": self._bootstrap_servers,
            # librdkafka asks for one, but with assign() and without commits no group of this name comes to be.
            "group.id": f"unused-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "enable.partition.eof": self._tells_end,
            "socket.keepalive.enable": True,
            "socket.timeout.ms": 10_000,
            "reconnect.backoff.max.ms": 2000,
            # After an error or an empty answer the default waits half a second and more: a gate has no such time.
            "fetch.error.backoff.ms": 50,
            "fetch.max.bytes": self._fetch_bytes,
            "message.max.bytes": self._fetch_bytes,
            "queued.max.messages.kbytes": self._fetch_bytes // 1024,
            "error_cb": self._on_error,
            # The one way to hear how a connection is on a line where nothing is said.
            "stats_cb": self._on_stats,
            "statistics.interval.ms": _STATISTICS_MS,
        }

    def _start(self, consumer: Consumer, partition: int, resume: Mapping[int, int] | None) -> int:
        low, high = self._ends(consumer, TopicPartition(self.topic, partition))
        if resume is None:
            return high
        wanted = resume.get(partition, low)
        if wanted > high:
            log.warning(
                "%s/%d ends at %d, before %d: made anew? Going on at its end", self.topic, partition, high, wanted
            )
            return high
        if wanted < low:
            log.warning("%s/%d begins at %d: %d messages have expired unread", self.topic, partition, low, low - wanted)
        return max(low, wanted)

    @staticmethod
    def _ends(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
        deadline_s = time.monotonic() + _OPEN_TIMEOUT_S
        while True:
            try:
                low, high = consumer.get_watermark_offsets(partition, timeout=_OPEN_TIMEOUT_S)
            except KafkaException as error:
                # A topic made a moment ago has no leader yet, and after an election the old one is asked first.
                if error.args[0].code() not in _PASSING_ERRORS or time.monotonic() > deadline_s:
                    raise
                time.sleep(_RETRY_S)
            else:
                return int(low), int(high)

    def _on_error(self, error: KafkaError) -> None:
        self.errors += 1
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self._up.is_set():
            self._up.clear()
            log.warning("%s: no broker at %s; trying again", self.topic, self._bootstrap_servers)

    def _on_stats(self, text: str) -> None:
        is_up, idle_s = _health(json.loads(text), self.topic)
        if idle_s is not None:
            self._contact_s = max(self._contact_s or 0.0, time.monotonic() - idle_s)
        if is_up and not self._up.is_set():
            log.info("%s: connected to %s again", self.topic, self._bootstrap_servers)
        if is_up:
            self._up.set()
        else:
            self._up.clear()


def _health(statistics: dict[str, Any], topic: str) -> tuple[bool, float | None]:
    """Whether all brokers that lead partitions of a topic are connected, and for how long the quietest was silent."""
    partitions = statistics["topics"].get(topic, {}).get("partitions", {}).values()
    leaders = {partition["leader"] for partition in partitions if partition["partition"] >= 0}
    brokers = [
        broker
        for broker in statistics["brokers"].values()
        if broker["nodeid"] >= 0 and (not leaders or broker["nodeid"] in leaders)
    ]
    is_up = bool(brokers) and all(broker["state"] == "UP" for broker in brokers)
    idle_us = [broker["rxidle"] for broker in brokers if broker["state"] == "UP" and broker["rxidle"] >= 0]
    return is_up, max(idle_us) / 1e6 if is_up and idle_us else None
