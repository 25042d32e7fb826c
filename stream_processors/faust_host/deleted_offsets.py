"""Notice of messages that the topic deleted before they were read: its retention is shorter than the delay."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from transport.batch_trials.after_death import PartitionKey
from transport.watermarks import low_and_high

log = logging.getLogger(__name__)

#: Time between two questions for the first offset of a partition, in seconds. Anybody can make a hole for each message.
_PAUSE_S = 1.0
_TIMEOUT_S = 2.0


class DeletedOffsets:
    """Check of the offsets that a consumer leaves out. Call it in the thread of the consumer.

    Transactions and compaction leave holes too. So after a hole the broker is asked for the first offset that is left.

    Parameters
    ----------
    consumer
        Consumer whose broker is asked.
    on_deleted
        Called with topic, partition and number of offsets that were deleted before they were read.
    """

    def __init__(self, consumer: Consumer, on_deleted: Callable[[str, int, int], object]) -> None:
        self._consumer = consumer
        self._on_deleted = on_deleted
        self._next: dict[PartitionKey, int] = {}
        self._asked_s: dict[PartitionKey, float] = {}

    def begin(self, partition: PartitionKey, offset: int) -> None:
        """Record where the reading begins: at a committed offset."""
        self._next[partition] = offset

    def forget(self) -> None:
        """Forget all partitions, after a rebalance or a rewind."""
        self._next.clear()

    def read(self, partition: PartitionKey, offset: int, following: int) -> None:
        """Record that the offsets from ``offset`` to ``following``, without the latter, were read."""
        expected = self._next.get(partition, offset)
        self._next[partition] = max(expected, following)
        if offset > expected:
            self._check(partition, expected, offset)

    def _check(self, partition: PartitionKey, expected: int, offset: int) -> None:
        now_s = time.monotonic()
        if now_s - self._asked_s.get(partition, float("-inf")) < _PAUSE_S:
            return
        self._asked_s[partition] = now_s
        topic, number = partition
        count = min(self._first_offset(topic, number), offset) - expected
        if count > 0:
            log.error(
                "%s-%d: offsets %d to %d were deleted before this program read them; let the topic keep messages "
                "longer (retention.ms, retention.bytes), or start more processes",
                topic, number, expected, expected + count - 1,
            )  # fmt: skip
            self._on_deleted(topic, number, count)

    def _first_offset(self, topic: str, partition: int) -> int:
        """Return the first offset that is left; 0 if the broker does not say it."""
        try:
            low, _ = low_and_high(self._consumer, TopicPartition(topic, partition), _TIMEOUT_S)
        except KafkaException:
            return 0
        return low
