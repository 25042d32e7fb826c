"""Messages as Faust gets them: consecutive messages of one partition as one message of Faust.

Handing over a message costs Faust some tenths of a millisecond of Python, in which no thread inspects. So messages
that wait anyway are handed over together. On an idle line that is one message.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from transport.batch_trials.child import TriedMessage
from transport.batches import UnreadableBatch
from transport.headers import message_headers

#: Most messages that are handed over together: a stop or a rebalance waits until all of them are answered.
TOGETHER = 16

FetchedRecord = Message | TriedMessage | UnreadableBatch


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """Message that was read from Kafka.

    ``timestamp_s`` is in seconds since 1970. ``batch`` is the unreadable batch that the message stands for, if any:
    then ``offset`` is the first one of the batch, and there is no value.
    """

    topic: str
    partition: int
    offset: int
    timestamp_s: float
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    batch: UnreadableBatch | None = None

    @property
    def last_offset(self) -> int:
        """Offset of the message; of a batch the last one, so that a commit goes behind the batch."""
        return self.offset if self.batch is None else self.batch.following - 1

    @property
    def size_bytes(self) -> int:
        """Size of key, value and headers; anyone may write a message whose key is large, or whose headers are."""
        headers = sum(len(name) + len(content) for name, content in self.headers.items())
        return len(self.key or b"") + len(self.value or b"") + headers


def received(record: FetchedRecord) -> ReceivedMessage:
    """Return the message of a record. Call it only once for each record, see `transport.headers.message_headers`."""
    if isinstance(record, UnreadableBatch):
        return ReceivedMessage(record.topic, record.partition, record.first, time.time(), None, None, {}, record)
    return ReceivedMessage(
        record.topic() or "", record.partition() or 0, record.offset() or 0, record.timestamp()[1] / 1000,
        record.key(), record.value(), message_headers(record),
    )  # fmt: skip


class MessageRun(bytes):
    """Empty value of the Faust message that stands for ``messages``, which are consecutive ones of one partition.

    The Faust message has the offset of the last of them: when it is acked, all of them are committed. `PartialAck`
    commits the earlier ones. A message that is removed from ``messages`` is free when it is answered, not with the run.
    """

    messages: deque[ReceivedMessage]

    @classmethod
    def of(cls, messages: Iterable[ReceivedMessage]) -> MessageRun:
        """Return the value for some messages."""
        run = cls()
        run.messages = deque(messages)
        return run


@dataclass(frozen=True, slots=True)
class PartialAck:
    """Ack of a message of a run that is not the last one, in the place of the Faust event."""

    event: Any
    offset: int

    def ack(self) -> None:
        """Let the next commit include the message, and the messages before it."""
        self.event.app.consumer.ack_part(self.event.message.tp, self.offset)


def runs(messages: Iterable[ReceivedMessage]) -> Iterator[list[ReceivedMessage]]:
    """Yield messages by partition, in order, at most `TOGETHER` at once.

    Examples
    --------
    >>> made = [ReceivedMessage("frames", number % 2, number, 0.0, None, b"", {}) for number in range(5)]
    >>> [[message.offset for message in run] for run in runs(made)]
    [[0, 2, 4], [1, 3]]
    """
    by_partition: dict[tuple[str, int], list[ReceivedMessage]] = {}
    for message in messages:
        by_partition.setdefault((message.topic, message.partition), []).append(message)
    for found in by_partition.values():
        for begin in range(0, len(found), TOGETHER):
            yield found[begin : begin + TOGETHER]
