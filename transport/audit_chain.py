"""Hash chain over the audit log: an event that was changed, or removed, contradicts the events behind it.

The chain goes over the bytes of the messages of the one partition, whoever wrote them and whether they can be read::

    chain[-1] = 0
    chain[n]  = SHA-256(chain[n - 1] | n as 8 bytes, big endian | SHA-256(value of the message at offset n))

An event states the chain at the newest event that its writer saw (``chain_offset``, ``chain_sha256``). Two writers at
the same time may state the same point; the next event covers both. So writers need no lock, and offsets without a
message are offsets whose message was removed. Kafka gives each message of a topic without transactions and without
compaction the next offset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChainPoint:
    """State of the chain at an offset: hash of everything up to its message."""

    offset: int
    sha256: str

    def then(self, value_sha256: bytes) -> ChainPoint:
        """Return the next point.

        Examples
        --------
        >>> START.then(digest_of(b"an event")).offset
        0
        >>> START.then(digest_of(b"an event")) == START.then(digest_of(b"another event"))
        False
        """
        offset = self.offset + 1
        whole = bytes.fromhex(self.sha256) + offset.to_bytes(8, "big") + value_sha256
        return ChainPoint(offset, hashlib.sha256(whole).hexdigest())

    def is_possible(self, at: int) -> bool:
        """Return True if an event at an offset can state this point.

        Examples
        --------
        >>> START.is_possible(0), ChainPoint(7, START.sha256).is_possible(7), ChainPoint(0, "?").is_possible(1)
        (True, False, False)
        """
        return -1 <= self.offset < at and len(self.sha256) == 64 and not set(self.sha256) - set("0123456789abcdef")


#: Events between the newest one that a writer has seen and its own event, at most: others write meanwhile.
_RECENT = 256
#: Point before the first event.
START = ChainPoint(-1, bytes(32).hex())


def digest_of(value: bytes | None) -> bytes:
    """Return the hash of a message's value; a missing value counts as empty."""
    return hashlib.sha256(value or b"").digest()


@dataclass(frozen=True, slots=True)
class Break:
    """Place at which the chain is broken.

    Parameters
    ----------
    first, last
        Offsets of the events that were removed or changed.
    kind
        ``removed``, ``changed``, ``false-claim`` (an event states what it cannot know), or ``repeated`` (an event was
        published again, byte by byte: its signature is valid, and its writer has acted only once).
    at
        Offset of the event that shows it; of a repeated event the first one.
    """

    kind: str
    first: int
    last: int
    at: int

    def __str__(self) -> str:
        events = f"event {self.first}" if self.first == self.last else f"events {self.first} to {self.last}"
        if self.kind == "removed":
            return f"{events}: removed; the next one is event {self.at}"
        if self.kind == "changed":
            return f"{events}: not what event {self.at} states: changed, or event {self.at} is a forgery"
        if self.kind == "repeated":
            return f"{events}: event {self.at}, published again"
        return f"event {self.at}: it states a chain that cannot be known there"


class ChainCheck:
    """Check of the chain, message by message, in the order of their offsets.

    Examples
    --------
    >>> check = ChainCheck()
    >>> check.add(0, b"a", START)
    >>> check.add(1, b"b", START.then(digest_of(b"a")))
    >>> check.add(3, b"d", START)
    >>> [str(each) for each in check.breaks]
    ['event 2: removed; the next one is event 3']
    """

    def __init__(self) -> None:
        self.breaks: list[Break] = []
        self._points: dict[int, ChainPoint] = {START.offset: START}
        self._digests: dict[int, bytes] = {}
        self._events: dict[bytes, int] = {}
        self._head: ChainPoint | None = None
        self._newest: int | None = None
        self._confirmed_to = -1
        #: Offsets that are reported as changed.
        self._reported: set[int] = set()

    @property
    def head(self) -> ChainPoint | None:
        """Point at the newest event; None if the chain is not known there."""
        return self._head if self._head is not None and self._head.offset == self._newest else None

    def point(self, offset: int) -> ChainPoint | None:
        """Return the point at an offset; None if it is not known."""
        return self._points.get(offset)

    def add(self, offset: int, value: bytes | None, claim: ChainPoint | None) -> None:
        """Check the next message.

        Parameters
        ----------
        claim
            Point that the event states; None for a message that is not an event.
        """
        if self._newest is None:
            self._head = START if offset == 0 else None  # older events have gone with their retention
            self._confirmed_to = offset - 1
        elif offset > self._newest + 1:
            self.breaks.append(Break("removed", self._newest + 1, offset - 1, offset))
            self._head = None
        self._digests[offset] = digest = digest_of(value)
        if claim is not None:
            first = self._events.setdefault(digest, offset)
            if first != offset:
                self.breaks.append(Break("repeated", offset, offset, first))
            self._compare(offset, claim)
        self._newest = offset
        self._extend(offset)

    def _compare(self, offset: int, claim: ChainPoint) -> None:
        if not claim.is_possible(offset):
            self.breaks.append(Break("false-claim", offset, offset, offset))
            return
        known = self._points.get(claim.offset)
        if known != claim and claim.offset in self._reported:
            return  # a writer that had missed the newest events states a point in the same stretch
        if known is not None and known != claim:
            first, last = max(min(self._confirmed_to + 1, claim.offset), 0), max(claim.offset, 0)
            self.breaks.append(Break("changed", first, last, offset))
            self._reported.update(range(first, last + 1))
            if claim.offset < offset - _RECENT:
                return  # no writer states so old a point; following each such claim would take for ever
        if known is None and self._head is not None and self._head.offset >= claim.offset:
            return  # about events that have gone with their retention
        if known != claim:
            # Later events build upon what this one states: without this, one change would be reported again and again.
            self._points[claim.offset] = self._head = claim
            self._extend(offset - 1)
        self._confirmed_to = max(self._confirmed_to, claim.offset)

    def _extend(self, to: int) -> None:
        """Follow the chain from its head as far as the messages are there."""
        while self._head is not None and self._head.offset < to:
            digest = self._digests.get(self._head.offset + 1)
            if digest is None:
                self._head = None
                return
            self._head = self._head.then(digest)
            self._points[self._head.offset] = self._head


def end_of_chain(
    messages: Iterable[tuple[int, bytes | None, ChainPoint | None]], start: ChainPoint | None = None
) -> ChainPoint | None:
    """Return the point at the newest of some messages, as the newest event among them states it.

    None asks for older messages: no event is among them, or the newest one states a point before them.

    Parameters
    ----------
    messages
        Offset, value, and the point that the message states; None if it is not an event.
    start
        Point before the messages, if no event among them states one.
    """
    rows = list(messages)
    point = next((claim for _, _, claim in reversed(rows) if claim is not None), start)
    for offset, value, _ in rows:
        if point is not None and offset > point.offset:
            point = point.then(digest_of(value)) if offset == point.offset + 1 else None
    return point
