"""Read a stretch of a topic from begin to end, without joining a group or committing anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import BrokerUnavailable, TopicMissing
from schemas.topics import MAX_REQUEST_BYTES

_TIMEOUT_S = 10.0
_AGAIN_S = 0.1
_LEADER_MOVES = {KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION}
_BATCH = 200
#: Without a message for so long, and the end not reached, the broker counts as gone.
_STALLED_S = 30.0
#: For a name that is not UTF-8, confluent-kafka 2.16 sets an error and still returns a list, with holes whose use ends
#: the process. A plain ``message.headers()``, once CPython has specialised it, does not see the error; this call does.
#: It must be asked once a message: the second answer is the list without the error.
_ASK_HEADERS = methodcaller("headers")


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """One message as it lies in its topic; ``timestamp_us`` is the broker's or the producer's, UTC.

    ``headers`` is empty where a header's name is not UTF-8: the client then gives none of them.
    """

    topic: str
    partition: int
    offset: int
    timestamp_us: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class TopicRange:
    """Messages at or after ``from_us`` and before ``to_us`` (UTC µs); None: from the begin, to the end."""

    from_us: int | None = None
    to_us: int | None = None


def read_topic(
    bootstrap_servers: str,
    topic: str,
    within: TopicRange | None = None,
    *,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> Generator[TopicMessage, None, None]:
    """Yield what the topic holds at this moment, partition by partition interleaved as the broker sends it.

    Of transactions only what is committed, up to the first that is still open.

    Parameters
    ----------
    within
        By the messages' timestamps, found with the broker's index; None: everything.
    on_progress
        Called with the number of offsets passed and to be passed; those of a transaction's markers count.

    Raises
    ------
    BrokerUnavailable
        If no broker answers, or it stops answering.
    TopicMissing
        If the topic is not there.
    """
    within = within or TopicRange()
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "inspection-reader",  # must be named, is never joined
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",  # the client's default, which the books rely on
            "fetch.message.max.bytes": MAX_REQUEST_BYTES,
            "queued.max.messages.kbytes": 2 * MAX_REQUEST_BYTES // 1024,
            "log_level": 0,
        }
    )
    try:
        ranges = _offsets(consumer, bootstrap_servers, topic, within)
        left = {number for number, (begin, end) in ranges.items() if begin < end}
        passed = {number: begin for number, (begin, _) in ranges.items()}
        total = sum(ranges[number][1] - ranges[number][0] for number in left)
        consumer.assign([TopicPartition(topic, number, ranges[number][0]) for number in left])
        quiet_s = 0.0
        while left:
            messages = consumer.consume(_BATCH, 1.0)
            quiet_s = 0.0 if messages else quiet_s + 1.0
            if quiet_s >= _STALLED_S:
                raise BrokerUnavailable(bootstrap_servers, f"no message of {topic} for {_STALLED_S:.0f} s")
            for message in messages:
                number, offset = message.partition() or 0, message.offset() or 0
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        # Behind the last message there may be offsets without one: a transaction's marker.
                        passed[number] = ranges[number][1]
                        left.discard(number)
                    elif error.fatal() or not error.retriable():
                        raise BrokerUnavailable(bootstrap_servers, error.str())
                    continue
                end = ranges[number][1]
                passed[number] = min(offset + 1, end)
                if offset < end and number in left:
                    yield _message(message)
                if offset >= end - 1:
                    left.discard(number)
            on_progress(sum(passed[number] - ranges[number][0] for number in passed), total)
    except KafkaException as error:
        raise BrokerUnavailable(bootstrap_servers, error.args[0].str()) from error
    finally:
        consumer.close()


def watermarks(bootstrap_servers: str, topic: str) -> dict[int, tuple[int, int]]:
    """First offset and next one of each partition; the first is not 0 once retention has deleted something.

    Raises
    ------
    BrokerUnavailable
        If no broker answers.
    TopicMissing
        If the topic is not there.
    """
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "inspection-reader", "log_level": 0})
    try:
        return _watermarks(consumer, bootstrap_servers, topic)
    except KafkaException as error:
        raise BrokerUnavailable(bootstrap_servers, error.args[0].str()) from error
    finally:
        consumer.close()


def _watermarks(consumer: Consumer, bootstrap_servers: str, topic: str) -> dict[int, tuple[int, int]]:
    found = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics.get(topic)
    if found is None or not found.partitions:
        raise TopicMissing([topic], bootstrap_servers)
    return {number: _low_high(consumer, TopicPartition(topic, number)) for number in sorted(found.partitions)}


def _low_high(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    deadline_s = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
        except KafkaException as error:
            # A topic that has just been made, or a broker that has just started, has no leader for a moment.
            if error.args[0].code() not in _LEADER_MOVES or time.monotonic() > deadline_s:
                raise
            time.sleep(_AGAIN_S)
        else:
            return int(low), int(high)


def _offsets(consumer: Consumer, bootstrap_servers: str, topic: str, within: TopicRange) -> dict[int, tuple[int, int]]:
    ranges = _watermarks(consumer, bootstrap_servers, topic)
    for bound, index in ((within.from_us, 0), (within.to_us, 1)):
        if bound is None:
            continue
        # Kafka's index has milliseconds; -1 where every message is older.
        asked = [TopicPartition(topic, number, -(-bound // 1000)) for number in ranges]
        for answer in consumer.offsets_for_times(asked, timeout=_TIMEOUT_S):
            low, high = ranges[answer.partition]
            offset = high if answer.offset < 0 else max(low, answer.offset)
            ranges[answer.partition] = (offset, high) if index == 0 else (low, offset)
    return ranges


def _message(message: Message) -> TopicMessage:
    return TopicMessage(
        str(message.topic()),
        int(message.partition() or 0),
        int(message.offset() or 0),
        message.timestamp()[1] * 1000,
        message.key(),
        message.value(),
        _headers(message),
    )


def _headers(message: Message) -> dict[str, bytes]:
    try:
        headers: Any = _ASK_HEADERS(message) or []
    except (SystemError, UnicodeDecodeError):
        return {}
    return {name: bytes(value or b"") for name, value in headers}
