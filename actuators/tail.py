"""The end of a topic, followed without a consumer group."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.cluster import require_topics
from schemas.errors import BrokerUnavailable

log = logging.getLogger(__name__)
_OPEN_TIMEOUT_S = 10.0
_RETRY_S = 0.05
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

    Raises
    ------
    BrokerUnavailable, TopicMissing
        From `open`.
    """

    def __init__(self, bootstrap_servers: str, topic: str, *, fetch_bytes: int = 8 * 1024 * 1024) -> None:
        self.topic = topic
        self._bootstrap_servers = bootstrap_servers
        self._fetch_bytes = fetch_bytes
        self._consumer: Consumer | None = None
        self._up = threading.Event()
        self.errors = 0

    @property
    def connected(self) -> bool:
        """Whether a broker of the cluster is connected, as of the last second or two of polling."""
        return self._up.is_set()

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
        consumer.assign([TopicPartition(self.topic, partition, offset) for partition, offset in starts.items()])
        self._consumer = consumer
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

    def _config(self) -> dict[str, object]:
        return {
            "bootstrap.servers": self._bootstrap_servers,
            # librdkafka asks for one, but with assign() and without commits no group of this name comes to be.
            "group.id": f"unused-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "socket.keepalive.enable": True,
            "socket.timeout.ms": 10_000,
            "reconnect.backoff.max.ms": 2000,
            # After an error or an empty answer the default waits half a second and more: a gate has no such time.
            "fetch.error.backoff.ms": 50,
            "fetch.max.bytes": self._fetch_bytes,
            "message.max.bytes": self._fetch_bytes,
            "queued.max.messages.kbytes": self._fetch_bytes // 1024,
            "error_cb": self._on_error,
            # The one way to hear that a connection is back on a line where nothing is said.
            "stats_cb": self._on_stats,
            "statistics.interval.ms": 1000,
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
        brokers = json.loads(text)["brokers"].values()
        is_up = any(broker["state"] == "UP" for broker in brokers if broker["nodeid"] >= 0)
        if is_up and not self._up.is_set():
            log.info("%s: connected to %s again", self.topic, self._bootstrap_servers)
        if is_up:
            self._up.set()
        else:
            self._up.clear()
