"""Reader of a stretch of a topic from begin to end. It joins no consumer group and commits nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import BrokerUnavailable, TopicMissing
from schemas.topics import MAX_REQUEST_BYTES
from transport.batches import BOUNDED, BatchSkipper, UnreadableBatch
from transport.headers import message_headers
from transport.offset_ranges import Ranges, merged
from transport.open_transactions import held_back, held_line

_log = logging.getLogger(__name__)
_TIMEOUT_S = 10.0
_AGAIN_S = 0.1
_LEADER_MOVES = {KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION}
_BATCH = 200
#: Time that the client waits for a batch to fill, even if no more messages come.
_POLL_S = 0.05
#: Longest sleep of a limited read, after which it reports its progress.
_PAUSE_S = 0.2
#: Time without a message before the end, after which the broker counts as unreachable.
_STALLED_S = 30.0
#: Time without a message after which the wait is logged.
_SAY_S = 5.0


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
class TopicRange:
    """Messages at or after ``from_us`` and before ``to_us`` (UTC µs); None for the begin, and for the end."""

    from_us: int | None = None
    to_us: int | None = None

    def has(self, timestamp_us: int) -> bool:
        """Return True if a time is in the range."""
        return (self.from_us is None or timestamp_us >= self.from_us) and (
            self.to_us is None or timestamp_us < self.to_us
        )


def read_topic(
    bootstrap_servers: str,
    topic: str,
    within: TopicRange | None = None,
    *,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
    on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
) -> Generator[TopicMessage, None, None]:
    """Yield the messages that the topic has at this moment; partitions are interleaved as the broker sends them.

    Only committed messages are read, up to the first open transaction; one line in the log names the partition that it
    holds back. A batch that no client can read is skipped, with a line in the log.

    Parameters
    ----------
    within
        Range by the messages' timestamps, found with the broker's index; None for all messages. If timestamps are out
        of order, the ends of the range are those of the index: from the first message of the time on, up to the first
        one after it.
    on_progress
        Called with the number of offsets passed, and in all; those of a transaction's markers count.
    on_unreadable
        Called with each batch that is skipped.

    Raises
    ------
    BrokerUnavailable
        If no broker answers, or it stops answering.
    TopicMissing
        If the topic does not exist.
    """
    ranges = time_ranges(bootstrap_servers, topic, within or TopicRange())
    yield from read_ranges(bootstrap_servers, topic, ranges, on_progress=on_progress, on_unreadable=on_unreadable)


def read_ranges(
    bootstrap_servers: str,
    topic: str,
    ranges: Ranges,
    *,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
    on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
    max_bytes_s: float | None = None,
) -> Generator[TopicMessage, None, None]:
    """Yield the messages of stretches of offsets, each partition in order.

    Parameters
    ----------
    ranges
        Offsets to read. Missing offsets (compacted, deleted meanwhile, a transaction's) are skipped.
    on_progress
        See `read_topic`; also called while no message comes, so that an exception from it ends the reading.
    on_unreadable
        See `read_topic`.
    max_bytes_s
        Maximum bytes read in a second, so that a live line keeps the broker; None for no limit.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        See `read_topic`.
    """
    cursors = {number: _Cursor(intervals) for number, spans in ranges.items() if (intervals := merged(spans))}
    if not cursors:
        return
    total = sum(cursor.total for cursor in cursors.values())
    consumer = _consumer(bootstrap_servers, slow=max_bytes_s is not None)
    pace = _Pace(max_bytes_s)
    skipper = BatchSkipper(bootstrap_servers)
    try:
        _watermarks(consumer, bootstrap_servers, topic)  # raises if the topic is missing: the client would wait
        consumer.assign([TopicPartition(topic, number, cursor.begin) for number, cursor in cursors.items()])
        left = set(cursors)
        quiet_s = 0.0

        def tell() -> None:
            on_progress(sum(cursor.passed for cursor in cursors.values()), total)

        while left:
            messages = consumer.consume(_BATCH, _POLL_S)
            for batch in skipper.skip(consumer):
                cursors[batch.partition].leave_out(batch.following)
                on_unreadable(batch)
            quiet_s = 0.0 if messages else quiet_s + _POLL_S
            if quiet_s >= _SAY_S > quiet_s - _POLL_S:
                _log.warning("no messages of %s; the broker has %.0f s to answer", topic, _STALLED_S - _SAY_S)
            if quiet_s >= _STALLED_S:
                raise BrokerUnavailable(bootstrap_servers, f"no message of {topic} for {_STALLED_S:.0f} s")
            for message in messages:
                number, offset = message.partition() or 0, message.offset() or 0
                if skipper.met(message):
                    continue
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        # After the last message there may be offsets without a message: a transaction's marker.
                        cursors[number].finish()
                    elif error.fatal() or not error.retriable():
                        raise BrokerUnavailable(bootstrap_servers, error.str())
                    continue
                if cursors[number].take(offset):
                    pace.wait(len(message.value() or b""), tell)
                    yield as_message(message)
            for number in sorted(left):
                upcoming = cursors[number].next
                if upcoming is None:
                    left.discard(number)
                elif cursors[number].is_far():
                    consumer.seek(TopicPartition(topic, number, upcoming))
            tell()
    except KafkaException as error:
        raise BrokerUnavailable(bootstrap_servers, error.args[0].str()) from error
    finally:
        skipper.close()
        consumer.close()


class _Cursor:
    """Position in the intervals of one partition that are read.

    Examples
    --------
    >>> cursor = _Cursor(((3, 5), (900, 901)))
    >>> [cursor.take(offset) for offset in (2, 3, 4, 5)], cursor.next, cursor.is_far()
    ([False, True, True, False], 900, True)
    >>> cursor.take(900), cursor.next, cursor.passed
    (True, None, 3)
    >>> cursor = _Cursor(((3, 5), (8, 20)))
    >>> cursor.leave_out(10)
    >>> cursor.next, cursor.passed
    (10, 4)
    """

    def __init__(self, intervals: tuple[tuple[int, int], ...]) -> None:
        self._left = list(reversed(intervals))
        self.begin = self._at = intervals[0][0]
        self.total = sum(end - begin for begin, end in intervals)
        self.passed = 0
        #: Next wanted offset; None at the end.
        self.next: int | None = intervals[0][0]

    def take(self, offset: int) -> bool:
        """Return True if a message is wanted; the messages of a partition come in order."""
        self._at = offset + 1
        while self._left and self._left[-1][1] <= offset:
            self._drop()
        wanted = bool(self._left) and self._left[-1][0] <= offset
        if wanted:
            begin, end = self._left[-1]
            self.passed += offset + 1 - begin
            self._left[-1] = (offset + 1, end)
            if offset + 1 >= end:
                self._left.pop()
        self.next = self._left[-1][0] if self._left else None
        return wanted

    def leave_out(self, offset: int) -> None:
        """Record that no message before an offset will come any more."""
        self._at = offset
        while self._left and self._left[-1][1] <= offset:
            self._drop()
        if self._left and self._left[-1][0] < offset:
            begin, end = self._left[-1]
            self.passed += offset - begin
            self._left[-1] = (offset, end)
        self.next = self._left[-1][0] if self._left else None

    def finish(self) -> None:
        """Finish all intervals: the partition ends here."""
        while self._left:
            self._drop()
        self.next = None

    def is_far(self) -> bool:
        """Return True if a seek to the next interval is better than reading up to it; True at most once for each."""
        far = self.next is not None and self.next - self._at > _BATCH
        self._at = self.next or 0
        return far

    def _drop(self) -> None:
        begin, end = self._left.pop()
        self.passed += end - begin


class _Pace:
    """Pace of a limited read: waits, message by message, until the bytes read are within the rate."""

    def __init__(self, max_bytes_s: float | None) -> None:
        self._max_bytes_s = max_bytes_s
        self._began_s = time.monotonic()
        self._bytes = 0

    def wait(self, size_bytes: int, meanwhile: Callable[[], object]) -> None:
        """Count the bytes of a message, and sleep until it may be yielded."""
        self._bytes += size_bytes
        if self._max_bytes_s is None:
            return
        while (left_s := self._began_s + self._bytes / self._max_bytes_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _PAUSE_S))
            meanwhile()


def time_ranges(bootstrap_servers: str, topic: str, within: TopicRange) -> dict[int, tuple[tuple[int, int], ...]]:
    """Return the offsets of a time range by the broker's index, one interval a partition, without empty ones.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        See `read_topic`.
    """
    consumer = _consumer(bootstrap_servers)
    try:
        found = _offsets(consumer, bootstrap_servers, topic, within)
        say_held(bootstrap_servers, topic, found)
    except KafkaException as error:
        raise BrokerUnavailable(bootstrap_servers, error.args[0].str()) from error
    finally:
        consumer.close()
    return {number: ((begin, end),) for number, (begin, end) in found.items() if begin < end}


def say_held(bootstrap_servers: str, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Log the partitions that an open transaction holds back; return the first held offset by partition."""
    held = held_back(bootstrap_servers, topic, partitions)
    for number, offset in held.items():
        _log.warning("%s", held_line(topic, number, offset))
    return held


def consumer_settings(bootstrap_servers: str, *, slow: bool = False) -> dict[str, Any]:
    """Return the settings of a consumer that is assigned partitions and offsets, and commits nothing."""
    ahead = {
        "fetch.message.max.bytes": MAX_REQUEST_BYTES,
        "queued.max.messages.kbytes": 2 * MAX_REQUEST_BYTES // 1024,
    }
    if slow:  # the broker still sends a message that is larger
        ahead = {"fetch.message.max.bytes": 256 * 1024, "queued.max.messages.kbytes": 512}
    return {
        **BOUNDED,
        "bootstrap.servers": bootstrap_servers,
        "group.id": "inspection-reader",  # a required setting; the group is never joined
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",  # the client's default, which the books rely on
        "log_level": 0,
        # By default the client pauses for a second when its queue is full, which limits it to 40 MB/s.
        "fetch.queue.backoff.ms": 5,
        **ahead,
    }


def _consumer(bootstrap_servers: str, *, slow: bool = False) -> Consumer:
    return Consumer(consumer_settings(bootstrap_servers, slow=slow))


def watermarks(bootstrap_servers: str, topic: str) -> dict[int, tuple[int, int]]:
    """Return the first and the next offset of each partition; retention makes the first one larger than 0.

    Raises
    ------
    BrokerUnavailable
        If no broker answers.
    TopicMissing
        If the topic does not exist.
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
            # A topic just created, or a broker just started, has no leader for a moment.
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
        # Kafka's index is in milliseconds; it returns -1 if all messages are older. Times below 0 have other meanings.
        asked = [TopicPartition(topic, number, max(0, -(-bound // 1000))) for number in ranges]
        for answer in consumer.offsets_for_times(asked, timeout=_TIMEOUT_S):
            low, high = ranges[answer.partition]
            offset = high if answer.offset < 0 else max(low, answer.offset)
            ranges[answer.partition] = (offset, high) if index == 0 else (low, offset)
    return ranges


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
