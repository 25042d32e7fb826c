"""Faust's consumer on librdkafka.

Faust's own client, aiokafka, is written in Python with an event loop: if frames come one by one, each frame costs it
more CPU time than a small network. Streams, acks and commits stay Faust's.

Transactions and compaction leave holes in the offsets. Faust's rule for offsets that may be committed can stop there
for good, so this consumer has a simpler rule.

It extends `faust.transport.consumer.Consumer`, with ``_new_offset`` and ``_filter_committable_offsets``, of
faust-streaming 0.15.3 (pinned).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException
from faust.exceptions import ConsumerNotStarted
from faust.transport.consumer import Consumer
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from schemas.settings import KafkaSettings
from stream_processors.faust_host.group_consumer import GroupConsumer
from stream_processors.faust_host.messages import MessageRun, ReceivedMessage
from transport.batch_trials.after_death import BatchTrials
from transport.broker_contact import BrokerContact

log = logging.getLogger(__name__)

#: Most bytes of one fetch, and of the messages that librdkafka has fetched ahead; a larger first message is also sent.
FETCH_BYTES = 4 * 1024 * 1024
#: A member that has not returned from a rebalance, or was not polled, within this time counts as dead.
_REBALANCE_MS = 60_000
#: Interval at which the client reports the state of its connections.
_STATISTICS_MS = 1_000
_METADATA_MS = 5_000
_WAITING = "wait_empty: Waiting for tasks %r"


class _CountedMessages(logging.Filter):
    """Filter for Faust's log: it counts the messages that a stop waits for, where Faust writes each one down."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _WAITING in str(record.msg) and isinstance(record.args, tuple):
            [messages] = record.args
            record.msg, record.args = "the stop waits for %d messages in work", (len(messages),)  # type: ignore[arg-type]
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


_faust_log = logging.getLogger("faust.librdkafka")
_faust_log.addFilter(_CountedMessages())


class LibrdkafkaConsumer(Consumer):
    """Consumer of one Faust app without tables. Derive from it, with the servers."""

    logger = _faust_log
    kafka: KafkaSettings
    trials: BatchTrials | None = None
    is_busy: Callable[[], bool] = staticmethod(lambda: False)
    on_deleted: Callable[[str, int, int], object] = staticmethod(lambda topic, partition, count: None)
    assignment_strategy = "roundrobin"  # as aiokafka in Faust

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._group_consumer: GroupConsumer | None = None
        self._contact = BrokerContact(time.monotonic)
        self._partitions: dict[TP, TP] = {}
        self._uncommitted: dict[TP, int] = {}

    async def on_start(self) -> None:
        """Create the client; it connects when the app subscribes to a topic."""
        config = _config(self.app.conf, self.assignment_strategy)
        config.update((key, value) for key, value in self.kafka.client if key == "client.id")
        config["stats_cb"] = self._contact.saw
        self._group_consumer = GroupConsumer(self.kafka, config, self, self.trials, self.is_busy, self.on_deleted)

    async def on_stop(self) -> None:
        """Commit the acked offsets and leave the group."""
        await super().on_stop()
        if self._group_consumer is not None:
            await self._group_consumer.close()

    @property
    def connected(self) -> bool | None:
        """True if the brokers that frames are read from answer; None if unknown."""
        return self._contact.connected

    # Called by the reader.

    async def assigned(self, partitions: set[tuple[str, int]]) -> None:
        """Tell Faust that these partitions are read from now on."""
        if not self.app.rebalancing:  # the group's first
            self.app.on_rebalance_start()
        self.app.consumer_generation_id += 1
        await self.on_partitions_assigned({TP(*partition) for partition in partitions}, self.app.consumer_generation_id)

    async def revoked(self, partitions: set[tuple[str, int]]) -> None:
        """Let Faust finish and commit the messages of these partitions."""
        self.app.on_rebalance_start()
        await self.on_partitions_revoked({TP(*partition) for partition in partitions})
        self._uncommitted.clear()

    async def failed(self, error: BaseException) -> None:
        """End the app: no more messages will be read."""
        log.critical("frames cannot be read any more: %r", error)
        await self.crash(error)

    # Called by Faust.

    async def subscribe(self, topics: Iterable[str]) -> None:
        try:
            await self.group_consumer.subscribe(sorted(topics))
        except KafkaException:
            if not self.crashed:  # otherwise the app is ending, and has logged the reason
                raise

    def assignment(self) -> set[TP]:
        return (
            set() if self._group_consumer is None else {TP(*partition) for partition in self._group_consumer.assigned}
        )

    def _to_message(self, tp: TP | None, record: Sequence[ReceivedMessage]) -> ConsumerMessage:
        """Return the Faust message that stands for consecutive messages of one partition."""
        first, last = record[0], record[-1]
        place = TP(first.topic, first.partition)
        tp = self._partitions.setdefault(place, place)
        return ConsumerMessage(
            tp.topic, tp.partition, last.last_offset, first.timestamp_s, 0, {}, None, MessageRun.of(record), None, 0, 0,
            tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    def ack_part(self, tp: TP, offset: int) -> None:
        """Let the next commit include a message of a run, see `stream_processors.faust_host.messages.PartialAck`."""
        if tp in self.assignment():
            self._acked[tp].append(offset)

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset to commit: the worker acks in order, so all frames before it are answered."""
        acked = self._acked[tp]
        if not acked:
            return None
        following = int(max(acked)) + 1
        acked.clear()
        self._acked_index[tp].clear()
        return following

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        return {**self._uncommitted, **super()._filter_committable_offsets(tps)}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        self._uncommitted.update(offsets)
        try:
            await self.group_consumer.commit({(tp.topic, tp.partition): offset for tp, offset in offsets.items()})
        except KafkaException as error:
            # The next commit, half a second later, repeats them; after a rebalance these frames are read again.
            log.warning("offsets are not committed yet: %s", error.args[0].str())
            return False
        for tp, offset in offsets.items():
            if self._uncommitted.get(tp) == offset:
                del self._uncommitted[tp]
        return True

    async def seek_to_committed(self) -> Mapping[TP, Any]:
        return {TP(*partition): offset for partition, offset in (await self.group_consumer.rewind()).items()}

    def close(self) -> None:
        """Do nothing: the consumer leaves the group when it stops."""

    # Called by Faust for tables, transactions, new topics, or its own reading loop.

    def _unsupported(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("a consumer of frames has neither tables nor transactions, and makes no topics")

    _getmany = _seek = seek_wait = position = highwater = highwaters = earliest_offsets = _unsupported
    topic_partitions = key_partition = create_topic = _new_topicpartition = _unsupported

    def verify_recovery_event_path(self, now: float, tp: TP) -> None:
        """Verify nothing."""

    @property
    def group_consumer(self) -> GroupConsumer:
        """Client; raises ConsumerNotStarted before `on_start`."""
        if self._group_consumer is None:
            raise ConsumerNotStarted("the consumer is not started")
        return self._group_consumer


def _config(conf: Any, strategy: str) -> dict[str, Any]:
    return {
        "client.id": conf.broker_client_id,
        "group.id": conf.id,
        "auto.offset.reset": conf.consumer_auto_offset_reset,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Anyone can keep a transaction open for a quarter of an hour, and a reader of committed messages would wait
        # until then. `inspection dead-letters retry`, our only transaction, allows for that.
        "isolation.level": "read_uncommitted",
        # All partitions are revoked and assigned again, as Faust expects.
        "partition.assignment.strategy": strategy,
        # Partitions added to the topic are read within this time.
        "topic.metadata.refresh.interval.ms": _METADATA_MS,
        "session.timeout.ms": int(conf.broker_session_timeout * 1000),
        "heartbeat.interval.ms": int(conf.broker_heartbeat_interval * 1000),
        "max.poll.interval.ms": _REBALANCE_MS,
        "check.crcs": conf.broker_check_crcs,
        "fetch.max.bytes": FETCH_BYTES,
        "fetch.message.max.bytes": FETCH_BYTES,
        "queued.max.messages.kbytes": FETCH_BYTES // 1024,
        # While messages of a partition wait here, no more of it are fetched, so that a fetch brings many. A partition
        # that a fetch leaves out waits for the end of this fetch, which is why fetches are short.
        "queued.min.messages": 2,
        "fetch.wait.max.ms": 50,
        "statistics.interval.ms": _STATISTICS_MS,
        "fetch.queue.backoff.ms": 10,  # otherwise a pause of a second each time that the queue is full
    }
