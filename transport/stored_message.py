"""Recorded message, from its topic or from an archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from schemas.records import DeadLetter, Decision, DriftEvent, Frame, Label
from schemas.topics import DEAD_LETTERS, MAX_MESSAGE_BYTES

R = TypeVar("R", Frame, Decision, DeadLetter, Label, DriftEvent)


class MessagePosition(NamedTuple):
    """Place of a message, which may have been deleted since: topic, partition, offset.

    Examples
    --------
    >>> str(MessagePosition("inspection.frames", 2, 17))
    'inspection.frames-2@17'
    """

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class StoredMessage(Generic[R]):
    """Message with its record.

    Parameters
    ----------
    timestamp_us
        Timestamp of the message, by the producer or the broker, in whole milliseconds, UTC µs.
    record
        None for an invalid value; ``problem`` then states the reason, and ``value`` has the original bytes.
    """

    position: MessagePosition
    timestamp_us: int
    key: bytes | None
    headers: dict[str, bytes] = field(default_factory=dict)
    record: R | None = None
    value: bytes | None = None
    problem: str = ""


def max_bytes(record: type) -> int:
    """Return the size of the longest value that is parsed: older dead letters have whole messages in them.

    Examples
    --------
    >>> max_bytes(Frame) // 1024 ** 2, max_bytes(DeadLetter) // 1024 ** 2
    (16, 18)
    """
    return DEAD_LETTERS.max_message_bytes if record is DeadLetter else MAX_MESSAGE_BYTES
