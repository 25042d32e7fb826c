"""One message of the past, wherever it was found: in its topic, or in an archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from schemas.records import DeadLetter, Decision, DriftEvent, Frame, Label

R = TypeVar("R", Frame, Decision, DeadLetter, Label, DriftEvent)


class Place(NamedTuple):
    """Where a message lies, or lay: topic, partition, offset.

    Examples
    --------
    >>> str(Place("inspection.frames", 2, 17))
    'inspection.frames-2@17'
    """

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class Stored(Generic[R]):
    """A message with its record.

    Parameters
    ----------
    timestamp_us
        Of the message: the producer's or the broker's, in whole milliseconds, UTC.
    record
        None where the value is no such record; ``problem`` says why then, and ``value`` holds the bytes as they came.
    """

    place: Place
    timestamp_us: int
    key: bytes | None
    headers: dict[str, bytes] = field(default_factory=dict)
    record: R | None = None
    value: bytes | None = None
    problem: str = ""
