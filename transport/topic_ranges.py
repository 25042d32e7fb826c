"""Messages, ranges and consumers of the readers of the past. They join no consumer group and commit nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import NotAuthorised, TopicMissing
from schemas.groups import READER
from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from transport.batches import BOUNDED
from transport.broker_cause import FirstError, broker_error
from transport.clients import Consumer, make_consumer
from transport.cluster_metadata import fetch_metadata
from transport.headers import message_headers
from transport.open_transactions import first_open_offsets, open_transaction_line
from transport.watermarks import first_offsets, low_and_high

_log = logging.getLogger(__name__)
_TIMEOUT_S = 10.0
#: Messages in a row behind the end of a range after which no more of its time are expected.
MOST_AHEAD = 32
#: Time that Kafka 4 lets a message be ahead of its clock (message.timestamp.after.max.ms).
_AHEAD_US = 3_600_000_000
#: Receiver of progress: what is done, and what there is in all.
OnProgress = Callable[[int, int], object]
#: Receiver of the progress of a stage, which is named first.
OnStageProgress = Callable[[str, int, int], object]


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """Message as stored in its topic; ``timestamp_us`` is the broker's or the producer's, UTC.

    ``headers`` is empty if a header's name is not UTF-8: the client then returns no headers.
    """

    topic: str
    partition: int
    offset: int
    timestamp_us: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Messages at or after ``from_us`` and before ``to_us`` (UTC µs); None for the begin, and for the end."""

    from_us: int | None = None
    to_us: int | None = None

    def has(self, timestamp_us: int) -> bool:
        """Return True if a time is in the range."""
        return (self.from_us is None or timestamp_us >= self.from_us) and (
            self.to_us is None or timestamp_us < self.to_us
        )


def time_ranges(kafka: KafkaSettings, topic: str, within: TimeRange) -> dict[int, tuple[tuple[int, int], ...]]:
    """Return the offsets of a time range, one interval a partition, without empty ones.

    They go from the first message of the time on, by the broker's index. The first one that the index has behind the
    end may be of a sender whose clock was ahead. So they go on up to the last message of the time, as long as fewer
    than `MOST_AHEAD` messages of later times in a row come before it. Messages of other times are among them.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        See `read_topic`.
    """
    found = time_bounds(kafka, topic, within)
    return {number: ((begin, end),) for number, (begin, end) in found.items() if begin < end}


def time_bounds(kafka: KafkaSettings, topic: str, within: TimeRange) -> dict[int, tuple[int, int]]:
    """Return begin and end of `time_ranges` for every partition; they are equal if the partition has no message there.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        See `read_topic`.
    """
    first = FirstError()
    consumer = make_consumer(kafka, {**consumer_settings(slow=True), "error_cb": first})
    try:
        found = _offsets(consumer, first, kafka, topic, within)
        log_open_transactions(kafka, topic, found)
    except KafkaException as error:
        raise broker_error(kafka, error.args[0].str()) from error
    finally:
        consumer.close()
    return found


def log_open_transactions(kafka: KafkaSettings, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Log the partitions that an open transaction holds back; return the first held offset by partition."""
    found = first_open_offsets(kafka, topic, partitions)
    for number, offset in found.items():
        _log.warning("%s", open_transaction_line(topic, number, offset))
    return found


def consumer_settings(*, slow: bool = False) -> dict[str, Any]:
    """Return the settings of a consumer that is assigned partitions and offsets, and commits nothing."""
    ahead = {
        "fetch.message.max.bytes": MAX_REQUEST_BYTES,
        "queued.max.messages.kbytes": 2 * MAX_REQUEST_BYTES // 1024,
    }
    if slow:  # the broker still sends a message that is larger
        ahead = {"fetch.message.max.bytes": 256 * 1024, "queued.max.messages.kbytes": 512}
    return {
        **BOUNDED,
        "group.id": READER,  # a required setting; the group is never joined
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",  # the client's default, which the audit relies on
        # No poll happens while the receiver of the messages is busy.
        "max.poll.interval.ms": 86_400_000,
        # By default the client pauses for a second when its queue is full, which limits it to 40 MB/s.
        "fetch.queue.backoff.ms": 5,
        **ahead,
    }


def watermarks(kafka: KafkaSettings, topic: str) -> dict[int, tuple[int, int]]:
    """Return the first and the next offset of each partition; retention makes the first one larger than 0.

    Raises
    ------
    BrokerUnavailable
        If no broker answers.
    TopicMissing
        If the topic does not exist.
    """
    first = FirstError()
    consumer = make_consumer(kafka, {"group.id": READER, "error_cb": first})
    try:
        return _watermarks(consumer, first, kafka, topic)
    except KafkaException as error:
        raise broker_error(kafka, error.args[0].str()) from error
    finally:
        consumer.close()


def _watermarks(consumer: Consumer, first: FirstError, kafka: KafkaSettings, topic: str) -> dict[int, tuple[int, int]]:
    found = fetch_metadata(kafka, consumer, first, _TIMEOUT_S, topic).topics.get(topic)
    if found is not None and found.error is not None and found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise NotAuthorised("topic", topic, "READ")
    if found is None or not found.partitions:
        raise TopicMissing([topic], kafka.bootstrap_servers)
    return {
        number: low_and_high(consumer, TopicPartition(topic, number), _TIMEOUT_S) for number in sorted(found.partitions)
    }


def _offsets(
    consumer: Consumer, first: FirstError, kafka: KafkaSettings, topic: str, within: TimeRange
) -> dict[int, tuple[int, int]]:
    ranges = _watermarks(consumer, first, kafka, topic)
    if within.to_us is not None:
        ends = _first_at(consumer, topic, ranges, within.to_us)
        bounds = _first_at(consumer, topic, ranges, within.to_us + _AHEAD_US)
        for number, (low, high) in ranges.items():
            ranges[number] = (
                low,
                _behind_last(consumer, TopicPartition(topic, number, ends[number]), high, within.to_us, bounds[number]),
            )
    if within.from_us is not None:
        begins = _first_at(consumer, topic, ranges, within.from_us)
        ranges = {number: (begins[number], high) for number, (_, high) in ranges.items()}
    return ranges


def _first_at(consumer: Consumer, topic: str, ranges: Mapping[int, tuple[int, int]], at_us: int) -> dict[int, int]:
    """Return by partition the offset of the first message from a time on, or the end of the partition without one."""
    # Kafka's index is in milliseconds; it returns -1 if all messages are older. Times below 0 have other meanings.
    asked = [TopicPartition(topic, number, max(0, -(-at_us // 1000))) for number in ranges]
    found = {}
    for number, offset in first_offsets(consumer, asked, _TIMEOUT_S).items():
        low, high = ranges[number]
        found[number] = high if offset < 0 else min(high, max(low, offset))
    return found


def _behind_last(consumer: Consumer, begin: TopicPartition, high: int, before_us: int, otherwise: int) -> int:
    """Return the offset behind the last message before a time; see `time_ranges`.

    Parameters
    ----------
    begin
        First offset with a message that is not before the time.
    high
        End of the partition.
    otherwise
        Offset that is returned if messages cannot be read.
    """
    end, later = begin.offset, 0
    if end >= high:
        return high
    consumer.assign([begin])
    try:
        while later < MOST_AHEAD:
            message = consumer.poll(_TIMEOUT_S)
            if message is None:
                return otherwise
            if (error := message.error()) is not None:
                return end if error.code() == KafkaError._PARTITION_EOF else otherwise
            offset = message.offset() or 0
            if offset >= high:
                break
            if message.timestamp()[1] * 1000 < before_us:
                end, later = offset + 1, 0
            else:
                later += 1
        return end
    finally:
        consumer.unassign()


def as_message(message: Message) -> TopicMessage:
    """Convert a message of the client; call it once for each message."""
    return TopicMessage(
        str(message.topic()),
        int(message.partition() or 0),
        int(message.offset() or 0),
        message.timestamp()[1] * 1000,
        message.key(),
        message.value(),
        message_headers(message),
    )
