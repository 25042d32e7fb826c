"""Idempotency keys at hand in this process; the decisions topic remembers the answered ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.identity import key_of
from gateway.problems import Problem

#: Keys that are remembered.
_MOST = 20_000
_LONGEST_KEY = 255


@dataclass(slots=True)
class KeyedFrame:
    """Frame of a key: its id, the time when it was sent (None: not yet), and a request at hand."""

    frame_id: str
    sent_s: float | None = None
    is_at_hand: bool = False


def parse_key(header: str | None) -> str | None:
    """Return the key of the header ``Idempotency-Key``, a quoted or a plain text; None without the header.

    Raises
    ------
    Problem
        ``bad-request``.

    Examples
    --------
    >>> parse_key('"part-77"'), parse_key("part-77"), parse_key(None)
    ('part-77', 'part-77', None)
    """
    if header is None:
        return None
    key = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    if not 0 < len(key) <= _LONGEST_KEY or not all(" " <= sign <= "~" for sign in key):
        raise Problem("bad-request", f"Idempotency-Key: 1 to {_LONGEST_KEY} printable ASCII characters")
    return key


def item_key(key: str | None, number: int) -> str | None:
    """Return the key of an image among several in one request; its number is its place, from 0."""
    return None if key is None else f"{key}/{number}"


class KeyTable:
    """Keys whose frames have no decision yet. Call from the event loop only.

    Parameters
    ----------
    forgotten_s
        Time after which a frame without an answer may be published again, in seconds.
    clock_s
        Function that returns seconds of a monotonic clock.
    """

    def __init__(self, forgotten_s: float, clock_s: Callable[[], float]) -> None:
        self._forgotten_s = forgotten_s
        self._clock_s = clock_s
        self._frames: OrderedDict[str, KeyedFrame] = OrderedDict()

    @contextmanager
    def hold(self, frame_id: str) -> Iterator[KeyedFrame]:
        """Hold a key for the time of a request.

        Raises
        ------
        Problem
            ``key-reused`` if the key belongs to another image, ``key-in-progress`` if a request holds it.
        """
        key = key_of(frame_id) or frame_id
        frame = self._frames.get(key)
        if frame is not None and frame.frame_id != frame_id:
            raise key_reused(frame_id)
        if frame is not None and frame.is_at_hand:
            raise Problem(
                "key-in-progress",
                "the first request with this key is waiting for its decision",
                retry_after_s=1,
                instance=frame_id,
            )
        if frame is None:
            frame = self._frames[key] = KeyedFrame(frame_id)
            while len(self._frames) > _MOST:
                self._frames.popitem(last=False)
        if frame.sent_s is not None and self._clock_s() - frame.sent_s > self._forgotten_s:
            frame.sent_s = None
        frame.is_at_hand = True
        try:
            yield frame
        finally:
            frame.is_at_hand = False
            if frame.sent_s is None:
                self._frames.pop(key, None)

    def forget(self, frame_id: str) -> None:
        """Forget a frame: it has its decision, or Kafka did not accept it."""
        key = key_of(frame_id) or frame_id
        frame = self._frames.get(key)
        if frame is not None and frame.frame_id == frame_id:
            frame.sent_s = None
            if not frame.is_at_hand:
                del self._frames[key]

    def has_other(self, frame_id: str) -> bool:
        """Return True if the key of a frame belongs to another image.

        Of two images that come at the same moment, the one with the lower id has the key: both processes see it so.
        """
        frame = self._frames.get(key_of(frame_id) or frame_id)
        if frame is None or frame.frame_id == frame_id:
            return False
        return frame.sent_s is not None or frame.frame_id < frame_id


def key_reused(frame_id: str) -> Problem:
    """Return the problem of a key that belongs to another image."""
    return Problem("key-reused", "this key was used with another image", instance=frame_id)
