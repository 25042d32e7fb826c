"""Reading of ranges of offsets, each partition in order; `transport.range_reader` has it done in a child process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Mapping

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from schemas.errors import BrokerUnavailable, NotAuthorised
from schemas.settings import KafkaSettings
from transport.batches import BatchSkipper, UnreadableBatch
from transport.clients import make_consumer
from transport.topic_ranges import TopicMessage, as_message, consumer_settings, watermarks

_log = logging.getLogger(__name__)
_BATCH = 200
#: Time that the client waits for a batch to fill, even if no more messages come.
_POLL_S = 0.05
#: Longest sleep of a limited read, after which it reports its progress.
_PAUSE_S = 0.2
#: Time without a message before the end, after which the broker counts as unreachable.
_STALLED_S = 30.0
#: Time without a message after which the wait is logged.
_SAY_S = 5.0


class Stalled(BrokerUnavailable):
    """Broker that has sent no message for a long time."""


def read_here(
    kafka: KafkaSettings,
    topic: str,
    cursors: Mapping[int, Cursor],
    *,
    on_progress: Callable[[], object],
    on_unreadable: Callable[[UnreadableBatch], object],
    max_bytes_s: float | None,
    is_strict: bool,
) -> Generator[TopicMessage, None, None]:
    """Yield the messages of ranges of offsets, in this process.

    Parameters
    ----------
    cursors
        Position of each partition, which moves on.
    on_progress, on_unreadable, max_bytes_s, is_strict
        See `transport.range_reader.read_ranges`.
    """
    consumer = make_consumer(
        kafka,
        consumer_settings(slow=max_bytes_s is not None) | ({"auto.offset.reset": "error"} if is_strict else {}),
    )
    pace = _Pace(max_bytes_s)
    skipper = BatchSkipper(kafka)
    try:
        watermarks(kafka, topic)  # raises if the topic is missing: the client would wait
        consumer.assign([TopicPartition(topic, number, cursor.begin) for number, cursor in cursors.items()])
        left = set(cursors)
        quiet_s = 0.0

        while left:
            messages = consumer.consume(_BATCH, _POLL_S)
            for batch in skipper.skip(consumer):
                cursors[batch.partition].leave_out(batch.following)
                on_unreadable(batch)
            quiet_s = 0.0 if messages else quiet_s + _POLL_S
            if quiet_s >= _SAY_S > quiet_s - _POLL_S:
                _log.warning("no messages of %s; the broker has %.0f s to answer", topic, _STALLED_S - _SAY_S)
            if quiet_s >= _STALLED_S:
                raise Stalled(kafka.bootstrap_servers, f"no message of {topic} for {_STALLED_S:.0f} s")
            for message in messages:
                number, offset = message.partition() or 0, message.offset() or 0
                if skipper.met(message):
                    continue
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        # After the last message there may be offsets without a message: a transaction's marker.
                        cursors[number].finish()
                    elif error.code() == KafkaError._AUTO_OFFSET_RESET and is_strict:
                        left.discard(number)
                    elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                        raise NotAuthorised("topic", topic, "READ")
                    elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                        continue  # the group is never joined, and the messages come
                    elif error.fatal() or not error.retriable():
                        raise BrokerUnavailable(kafka.bootstrap_servers, error.str())
                    continue
                if cursors[number].take(offset):
                    yield as_message(message)
                    pace.wait(len(message.value() or b""), on_progress)
            for number in sorted(left):
                upcoming = cursors[number].next
                if upcoming is None:
                    left.discard(number)
                elif cursors[number].is_far():
                    consumer.seek(TopicPartition(topic, number, upcoming))
            on_progress()
    except KafkaException as error:
        raise BrokerUnavailable(kafka.bootstrap_servers, error.args[0].str()) from error
    finally:
        skipper.close()
        consumer.close()


class Cursor:
    """Position in the intervals of one partition that are read.

    Examples
    --------
    >>> cursor = Cursor(((3, 5), (900, 901)))
    >>> [cursor.take(offset) for offset in (2, 3, 4, 5)], cursor.next, cursor.is_far()
    ([False, True, True, False], 900, True)
    >>> cursor.take(900), cursor.next, cursor.passed
    (True, None, 3)
    >>> cursor = Cursor(((3, 5), (8, 20)))
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

    @property
    def left(self) -> list[tuple[int, int]]:
        """Intervals that are still to be read, in order."""
        return self._left[::-1]

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
