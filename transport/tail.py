"""Reader that follows the end of a topic without a consumer group."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import NotAuthorised, TopicMissing
from schemas.groups import unused_group
from schemas.settings import KafkaSettings
from transport.batch_trials.child import TriedMessage
from transport.batch_trials.pipe import Unproven
from transport.batch_trials.trial import Trial, TrialRecord
from transport.batches import BOUNDED, BatchSkipper, UnreadableBatch
from transport.broker_cause import broker_error
from transport.clients import LONG_LIVED, make_consumer
from transport.topic_identity import TopicIdentities
from transport.topic_watch import TopicWatch
from transport.watermarks import low_and_high

log = logging.getLogger(__name__)
_OPEN_TIMEOUT_S = 10.0
#: Interval at which librdkafka reports the state of its connections.
_STATISTICS_MS = 250
#: A healthy broker answers a fetch within half a second (``fetch.wait.max.ms``), also on an idle topic.
_SILENT_S = 3.0
#: Interval, in seconds, at which the cluster is asked for new partitions.
_IDENTITY_S = 2.0
_STALE_EVENTS = 8
#: Time, offsets and bytes of each partition for the trial of what waits at the start.
_TRIAL_S, _TRIAL_COUNT, _TRIAL_BYTES = 40.0, 50_000, 32 * 1024 * 1024
#: Errors of connections: the client repeats them many times a second, and one line says that no broker answers.
_CONNECTION_ERRORS = frozenset({KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT})
#: Other errors are logged once in this time, in seconds, for each kind.
_LOG_INTERVAL_S = 30.0


class Tail:
    """Messages of every partition of a topic from its end on, or from given offsets.

    Once open, it never raises because of the broker: librdkafka reconnects and resumes at its last offset, and
    `connected` shows the state. Partitions that are added to the topic are read from their beginning, within a few
    seconds. So is a topic that was deleted and re-created. A batch that no client can read is skipped. While the topic
    is gone, or the user has lost the right to read it, `fault` says so and `connected` is False.

    What waits at the given offsets is first read by a child process with a limit of memory
    (`transport.batch_trials.trial`): a batch that ended the last run is skipped, too.

    Messages of transactions are read at once, committed or not: our writers use no transactions here, and a
    stranger's transaction must not delay the rest.

    Parameters
    ----------
    topic
        Name of the topic.
    fetch_bytes
        Most bytes fetched ahead into memory.
    reports_end
        True to maintain `reached_end`.
    on_unreadable
        Called with each batch that is skipped, on the polling thread.
    busy_s
        See `transport.clock_waits`; above 0 for who needs messages soon, and has nothing to do without them.

    Raises
    ------
    BrokerUnavailable, TopicMissing, NotAuthorised
        From `open`.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        *,
        fetch_bytes: int = 8 * 1024 * 1024,
        reports_end: bool = False,
        on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
        busy_s: float = 0.0,
    ) -> None:
        self.topic = topic
        self._busy_s = busy_s
        self._kafka = kafka
        self._fetch_bytes = fetch_bytes
        self._reports_end = reports_end
        self._not_ended: set[int] = set()
        self._consumer: Consumer | None = None
        self._up = threading.Event()
        self._is_outage_logged = False
        self._contact_s: float | None = None
        self._skipper: BatchSkipper | None = None
        self._watch: TopicWatch | None = None
        self._on_unreadable = on_unreadable
        self.topic_id: str | None = None
        self.errors = 0
        self._logged_s: dict[int, float] = {}
        self._tried: deque[TrialRecord] = deque()

    @property
    def connected(self) -> bool:
        """True if the brokers that lead the partitions are connected, answer, and let the user read the topic.

        Polling keeps it up to date: it becomes False at most half a second after a connection broke, and at most 3.5 s
        after a broker fell silent but kept its connections (frozen, or cut off from the network), or after the topic
        or the right to read it was lost. It becomes True again once the cluster grants the right.
        """
        age_s = self.contact_age_s
        return self.fault is None and self._up.is_set() and age_s is not None and age_s < _SILENT_S

    @property
    def fault(self) -> NotAuthorised | TopicMissing | None:
        """Missing right, or missing topic, for which nothing is read although the brokers answer; None without one."""
        return None if self._watch is None else self._watch.fault

    @property
    def contact_age_s(self) -> float | None:
        """Seconds since the last answer of the most silent broker that leads a partition; None before `open`.

        Answers during a `fault` do not count: no message comes with them.
        """
        return None if self._contact_s is None else max(0.0, time.monotonic() - self._contact_s)

    @property
    def reached_end(self) -> bool:
        """True if all messages that existed at `open` have been read; always False without ``reports_end``."""
        return self._reports_end and self.is_open and not self._not_ended and not self._tried

    @property
    def is_open(self) -> bool:
        """True if the offsets to begin at are set: every message produced from now on will be read."""
        return self._consumer is not None

    def open(self, resume: Mapping[int, int] | None = None, topic_id: str | None = None) -> dict[int, int]:
        """Assign every partition and return the offsets at which reading begins.

        Parameters
        ----------
        resume
            Next offset by partition, from a former run. A partition that it does not name was added since, and is
            read from its beginning. An offset beyond the end, or below 0, is void: reading begins at the end.
        topic_id
            Kafka's id of the topic in the former run; if the topic now has another id, ``resume`` is void.
        """
        identity = TopicIdentities(self._kafka).of([self.topic], to_read=True)[self.topic]
        if resume and topic_id is not None and topic_id != identity.topic_id:
            log.warning(
                "%s was deleted and created again since the last run: the %d offsets of that run are void, going on at "
                "the end", self.topic, len(resume),
            )  # fmt: skip
            resume = None
        consumer = make_consumer(self._kafka, self._config(), busy_s=self._busy_s)
        try:
            starts = {partition: self._start(consumer, partition, resume) for partition in identity.partitions}
        except KafkaException as error:
            consumer.close()
            raise broker_error(self._kafka, error.args[0].str()) from error
        # Statistics from before the first connection are queued by now; they tell nothing about the current state.
        for _ in range(_STALE_EVENTS):
            consumer.poll(0)
        begins = starts if resume is None else starts | self._backlog(consumer, starts)
        consumer.assign([TopicPartition(self.topic, partition, offset) for partition, offset in begins.items()])
        self._not_ended = set(starts)
        self._consumer = consumer
        self.topic_id = identity.topic_id
        self._skipper = BatchSkipper(self._kafka)
        self._watch = TopicWatch(self._kafka, self.topic, identity, _IDENTITY_S)
        self._contact_s = time.monotonic()
        self._up.set()
        return starts

    def poll(self, timeout_s: float) -> Message | TriedMessage | None:
        """Return the next message; None before `open`, or if none comes in time. Errors are counted and logged."""
        if self._consumer is None or self._skipper is None:
            return None
        self._follow_topic()
        while self._tried:
            record = self._tried.popleft()
            if not isinstance(record, UnreadableBatch):
                return record
            self.errors += 1
            self._on_unreadable(record)
        message = self._consumer.poll(timeout_s)
        for batch in self._skipper.skip(self._consumer):
            self.errors += 1
            self._on_unreadable(batch)
        if message is None or self._skipper.met(message):
            return None
        error = message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            self._not_ended.discard(message.partition() or 0)
            return None
        if error is not None:
            self.errors += 1
            if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and self._watch is not None:
                self._watch.refuse_read()
            else:
                log.warning("%s: %s", self.topic, error.str())
            return None
        return message

    def _backlog(self, consumer: Consumer, starts: Mapping[int, int]) -> dict[int, int]:
        """Have a child process try what waits; keep what stands up to a batch that would end this process."""
        follow: dict[int, int] = {}
        trial = Trial(self._kafka, _TRIAL_S)
        try:
            for partition, offset in starts.items():
                if offset >= low_and_high(consumer, TopicPartition(self.topic, partition), _OPEN_TIMEOUT_S)[1]:
                    continue
                found = trial.partition(self.topic, partition, offset, count=_TRIAL_COUNT, size_bytes=_TRIAL_BYTES)
                if found.needed is not None:
                    self._tried += found.needed.records
                    follow[partition] = found.needed.following
        except (Unproven, OSError, KafkaException) as error:
            log.warning("%s: what waits is read without a trial: %s", self.topic, error)
        finally:
            trial.close()
        return follow

    def close(self) -> None:
        """Close the consumer. Idempotent."""
        if self._watch is not None:
            self._watch.close()
        if self._skipper is not None:
            self._skipper.close()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self._tried.clear()
        self._up.clear()
        self._contact_s = None

    def _config(self) -> dict[str, object]:
        return {
            **BOUNDED,
            "isolation.level": "read_uncommitted",
            # The client reads only partitions that its own list contains.
            "topic.metadata.refresh.interval.ms": int(_IDENTITY_S * 1000),
            # librdkafka requires a group id, but assign() without commits creates no group of this name.
            "group.id": unused_group(),
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "enable.partition.eof": self._reports_end,
            **LONG_LIVED,
            # After an error or an empty answer the default waits half a second and more: that is too long for a gate.
            "fetch.error.backoff.ms": 50,
            "fetch.max.bytes": self._fetch_bytes,
            "message.max.bytes": self._fetch_bytes,
            "queued.max.messages.kbytes": self._fetch_bytes // 1024,
            "error_cb": self._on_error,
            # Only the statistics show the state of a connection on an idle line.
            "stats_cb": self._on_stats,
            "statistics.interval.ms": _STATISTICS_MS,
        }

    def _start(self, consumer: Consumer, partition: int, resume: Mapping[int, int] | None) -> int:
        low, high = low_and_high(consumer, TopicPartition(self.topic, partition), _OPEN_TIMEOUT_S)
        if resume is None:
            return high
        wanted = resume.get(partition, low)
        if not 0 <= wanted <= high:
            log.warning(
                "%s/%d has offsets up to %d, the last run was at %d: that offset is void, going on at the end of the "
                "partition", self.topic, partition, high, wanted,
            )  # fmt: skip
            return high
        if wanted < low:
            log.warning("%s/%d begins at %d: %d messages have expired unread", self.topic, partition, low, low - wanted)
        return max(low, wanted)

    def _follow_topic(self) -> None:
        change = None if self._watch is None else self._watch.change()
        if change is None or self._consumer is None or self._skipper is None:
            return
        before, now = change
        if now.topic_id != before.topic_id:
            log.warning("%s was deleted and created again: it is read from its beginning", self.topic)
            self.topic_id = now.topic_id
            self._skipper.forget()
            self._tried.clear()
            self._consumer.assign(self._beginnings(now.partitions))
            self._not_ended = set(now.partitions)
            return
        new = sorted(set(now.partitions) - set(before.partitions))
        if new:
            log.warning(
                "%s has new partitions, %s: they are read from their beginning", self.topic, ", ".join(map(str, new))
            )
            self._consumer.incremental_assign(self._beginnings(new))
            self._not_ended |= set(new)

    def _beginnings(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self.topic, number, OFFSET_BEGINNING) for number in partitions]

    def _on_error(self, error: KafkaError) -> None:
        self.errors += 1
        code, now_s = error.code(), time.monotonic()
        if code == KafkaError._ALL_BROKERS_DOWN:
            self._up.clear()
            if not self._is_outage_logged:
                self._is_outage_logged = True
                log.warning("%s: no broker at %s; trying again", self.topic, self._kafka.bootstrap_servers)
        elif code not in _CONNECTION_ERRORS and now_s - self._logged_s.get(code, -_LOG_INTERVAL_S) >= _LOG_INTERVAL_S:
            self._logged_s[code] = now_s
            log.warning("%s: %s", self.topic, error.str())

    def _on_stats(self, text: str) -> None:
        is_up, idle_s = _health(json.loads(text), self.topic)
        if idle_s is not None and self.fault is None:
            self._contact_s = max(self._contact_s or 0.0, time.monotonic() - idle_s)
        if is_up and self._is_outage_logged:
            self._is_outage_logged = False
            log.info("%s: connected to %s again", self.topic, self._kafka.bootstrap_servers)
        if is_up:
            self._up.set()
        else:
            self._up.clear()


def _health(statistics: dict[str, Any], topic: str) -> tuple[bool, float | None]:
    """Return True if all brokers that lead partitions of a topic are connected, and the longest silence in s."""
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
