"""Reader of ranges of a topic from begin to end.

librdkafka bounds the unpacked size of zstd batches only, so a batch may take all memory of the process that reads it.
Therefore a child process with a limit of memory reads (`transport.range_program`). If it dies, a trial reads the next
messages of each partition with other children, and leaves out the batch that ends them
(`transport.batch_trials.trial`). Then a new child reads on.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from schemas.errors import BrokerUnavailable, InspectionError, NotAuthorised, TopicMissing
from schemas.settings import KafkaSettings
from transport.batch_trials.pipe import ChildPipe, Unproven, broken, number
from transport.batch_trials.trial import Trial
from transport.batches import UnreadableBatch
from transport.broker_cause import broker_error
from transport.headers import message_headers
from transport.limited_child import start_child
from transport.offset_ranges import OffsetRanges, merged
from transport.range_loop import Cursor
from transport.topic_ranges import TimeRange, TopicMessage, time_ranges

#: Memory that the child may take; its queue and a fetch take 100 MiB.
_MEMORY_BYTES = 512 * 1024 * 1024
#: Longest silence of the child, which reports twenty times a second.
_SILENT_S = 60.0
#: Offsets and bytes of each partition that a trial reads after a death: more than a child can have read ahead.
_TRIAL_COUNT, _TRIAL_BYTES = 4_096, 48 * 1024 * 1024
_TRIAL_S = 60.0
#: Trials in a row that may read nothing.
_ATTEMPTS = 2


class ReadingFailed(InspectionError):
    """Child processes that read a topic end again and again, and no batch is the cause."""


def read_topic(
    kafka: KafkaSettings,
    topic: str,
    within: TimeRange | None = None,
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
        Range by the messages' timestamps; None for all messages. Messages that are very late are left out, see
        `transport.topic_ranges.time_ranges`.
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
    ReadingFailed
        If the child processes that read end of something else than what they read.
    """
    within = within or TimeRange()
    ranges = time_ranges(kafka, topic, within)
    with closing(read_ranges(kafka, topic, ranges, on_progress=on_progress, on_unreadable=on_unreadable)) as messages:
        for message in messages:
            if within.has(message.timestamp_us):
                yield message


def read_ranges(
    kafka: KafkaSettings,
    topic: str,
    ranges: OffsetRanges,
    *,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
    on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
    max_bytes_s: float | None = None,
    is_strict: bool = False,
) -> Generator[TopicMessage, None, None]:
    """Yield the messages of ranges of offsets, each partition in order.

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
    is_strict
        A partition whose next offset was deleted is left, without an error; by default reading goes on behind it.

    Raises
    ------
    BrokerUnavailable, TopicMissing, ReadingFailed
        See `read_topic`.
    """
    cursors = {number: Cursor(intervals) for number, spans in ranges.items() if (intervals := merged(spans))}
    total = sum(cursor.total for cursor in cursors.values())
    progress = lambda: on_progress(sum(cursor.passed for cursor in cursors.values()), total)  # noqa: E731
    failed = 0
    while any(cursor.next is not None for cursor in cursors.values()):
        before = sum(cursor.passed for cursor in cursors.values())
        reader = _Reader(kafka, topic, cursors, progress, on_unreadable)
        try:
            yield from reader.fast(max_bytes_s, is_strict=is_strict)
            return
        except (Unproven, OSError) as error:
            reason: Exception = error
        except _Stuck as error:
            reason = BrokerUnavailable(kafka.bootstrap_servers, str(error))
        try:
            yield from reader.careful()
        except (Unproven, OSError) as error:
            if isinstance(reason, BrokerUnavailable):
                raise reason from error
            reason = error
        failed = failed + 1 if before == sum(cursor.passed for cursor in cursors.values()) else 0
        if failed >= _ATTEMPTS:
            if isinstance(reason, BrokerUnavailable):
                raise reason
            raise ReadingFailed(
                f"{topic} cannot be read: {reason}; give the process more memory, or see why the system ends it"
            )


class _Stuck(Exception):
    """No message has come for a long time: the broker is away, or unpacking takes long."""


class _Reader:
    """Reader of what is left of some partitions; it moves their cursors."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        cursors: dict[int, Cursor],
        progress: Callable[[], object],
        on_unreadable: Callable[[UnreadableBatch], object],
    ) -> None:
        self._kafka, self._topic, self._cursors = kafka, topic, cursors
        self._progress, self._on_unreadable = progress, on_unreadable

    def fast(self, max_bytes_s: float | None, *, is_strict: bool) -> Iterator[TopicMessage]:
        """Have a child read all that is left."""
        pipe = ChildPipe(start_child("-P", "-m", "transport.range_program"), 0.0)
        try:
            pipe.tell(
                kafka=dataclasses.asdict(self._kafka),
                topic=self._topic,
                ranges={number: cursor.left for number, cursor in self._cursors.items() if cursor.left},
                max_bytes_s=max_bytes_s,
                strict=is_strict,
                memory=_MEMORY_BYTES,
            )
            while True:
                pipe.deadline_s = time.monotonic() + _SILENT_S
                line = pipe.hear()
                if "messages" in line:
                    yield from self._messages(pipe, line["messages"])
                elif not self._note(line):
                    return
        finally:
            pipe.end()

    def careful(self) -> Iterator[TopicMessage]:
        """Have a trial read the next messages of each partition."""
        trial = Trial(self._kafka, _TRIAL_S, is_committed=True)
        try:
            for partition, cursor in self._cursors.items():
                if cursor.next is None:
                    continue
                count = min(_TRIAL_COUNT, cursor.left[0][1] - cursor.next)
                found = trial.partition(
                    self._topic, partition, cursor.next, count=count, size_bytes=_TRIAL_BYTES, is_ahead=False
                ).all
                for record in found.records:
                    if isinstance(record, UnreadableBatch):
                        cursor.leave_out(record.following)
                        self._on_unreadable(record)
                    elif cursor.take(record.at):
                        time_us = record.timestamp_ms * 1000
                        headers = message_headers(record)
                        yield TopicMessage(
                            self._topic, partition, record.at, time_us, record.key(), record.value(), headers
                        )
                cursor.leave_out(found.following)
                self._progress()
        finally:
            trial.close()

    def _messages(self, pipe: ChildPipe, messages: Any) -> Iterator[TopicMessage]:
        try:
            for partition, offset, time_us, *sizes in messages:
                # The child waits as long as the receiver of the last message was busy.
                pipe.deadline_s = time.monotonic() + _SILENT_S
                head, key, value = map(pipe.content, sizes)
                pairs = {} if head is None else json.loads(head)
                headers = {name: bytes.fromhex(content) for name, content in pairs.items()}
                message = TopicMessage(self._topic, partition, offset, int(time_us), key, value, headers)
                is_wanted = self._cursors[partition].take(offset)
                if is_wanted:
                    yield message
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise broken() from error

    def _note(self, line: dict[str, Any]) -> bool:
        """Note what a child says; return False if it has read all."""
        if line.get("missing"):
            raise TopicMissing([self._topic], self._kafka.bootstrap_servers)
        if "denied" in line:
            raise NotAuthorised("topic", self._topic, str(line["denied"]))
        if "away" in line:
            if line.get("stalled"):
                raise _Stuck(str(line["away"]))
            raise broker_error(self._kafka, str(line["away"]))
        batch = None
        try:
            if "log" in line:
                level, name, text = line["log"]
                logging.getLogger(str(name)).log(int(level), "%s", text)
            elif "next" in line:
                for partition, upcoming in line["next"].items():
                    self._move(self._cursors[int(partition)], upcoming)
            elif "following" in line:
                partition, first, following = (number(line, name) for name in ("partition", "first", "following"))
                batch = UnreadableBatch(self._topic, partition, first, following, str(line.get("why")))
                self._cursors[partition].leave_out(following)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise broken() from error
        if batch is not None:
            self._on_unreadable(batch)
        self._progress()
        return not line.get("end")

    @staticmethod
    def _move(cursor: Cursor, upcoming: int | None) -> None:
        if upcoming is None:
            cursor.finish()
        elif cursor.next is not None and upcoming > cursor.next:
            cursor.leave_out(upcoming)
