"""Offsets that a broker names: both ends of a partition, and the first message from a time on.

Such a request fails for a moment after a topic was created and while a leader moves, and now and then without a reason:
"Local: Unknown partition" for a partition that has long been there (confluentinc/confluent-kafka-python#1043). So a
request is repeated for a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

#: Pause between two requests, in seconds.
_PAUSE_S = 0.05
_PASSING_ERRORS = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,
    }
)

_Answer = TypeVar("_Answer")


def low_and_high(consumer: Consumer, partition: TopicPartition, timeout_s: float) -> tuple[int, int]:
    """Return the first offset of a partition, and the offset behind its last message.

    Parameters
    ----------
    timeout_s
        Longest time of one request, and time after which a request that failed is not repeated.

    Raises
    ------
    KafkaException
        If the broker does not answer, refuses, or has no such partition in that time.
    """

    def ask() -> tuple[int, int]:
        low, high = consumer.get_watermark_offsets(partition, timeout=timeout_s)
        return int(low), int(high)

    return _repeated(ask, timeout_s)


def first_offsets(consumer: Consumer, times: Sequence[TopicPartition], timeout_s: float) -> dict[int, int]:
    """Return, by partition of one topic, the offset of the first message from a time on; -1 if all are older.

    Parameters
    ----------
    times
        Partitions; the offset of each is the time in milliseconds since 1970, UTC.
    timeout_s
        See `low_and_high`.

    Raises
    ------
    KafkaException
        If the broker does not answer, or refuses the request of a partition.
    """

    def ask() -> dict[int, int]:
        found = consumer.offsets_for_times(list(times), timeout=timeout_s)
        for partition in found:
            if partition.error is not None:
                raise KafkaException(partition.error)
        return {partition.partition: partition.offset for partition in found}

    return _repeated(ask, timeout_s)


def _repeated(ask: Callable[[], _Answer], timeout_s: float) -> _Answer:
    until_s = time.monotonic() + timeout_s
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _PASSING_ERRORS or time.monotonic() >= until_s:
                raise
        time.sleep(_PAUSE_S)
