"""Idempotency keys of requests. `gateway.claims` has those of all gateways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.problems import Problem

_LONGEST_KEY = 255


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
    """Return the key of an image among several in one request; its number is its place, from 0.

    No client can state this key for another image: a key has no line feed.
    """
    return None if key is None else f"{key}\n{number}"


class KeysAtHand:
    """Frames of the requests with a key at hand in this process. Call from the event loop only.

    Examples
    --------
    >>> keys = KeysAtHand()
    >>> with keys.hold("http-key.press-7.54834cfe.e3b0c442"), keys.hold("http-key.press-7.54834cfe.e3b0c442"):
    ...     pass
    Traceback (most recent call last):
    ...
    gateway.problems.Problem: the first request with this key is waiting for its decision
    """

    def __init__(self) -> None:
        self._frames: set[str] = set()

    @contextmanager
    def hold(self, frame_id: str) -> Iterator[None]:
        """Hold the key of a frame for the time of a request.

        Raises
        ------
        Problem
            ``key-in-progress`` if another request has it with the same image. With another image the claims decide.
        """
        if frame_id in self._frames:
            raise Problem(
                "key-in-progress",
                "the first request with this key is waiting for its decision",
                retry_after_s=1,
                instance=frame_id,
            )
        self._frames.add(frame_id)
        try:
            yield
        finally:
            self._frames.remove(frame_id)


def key_reused(frame_id: str) -> Problem:
    """Return the problem of a key that belongs to another image."""
    return Problem("key-reused", "this key was used with another image", instance=frame_id)
