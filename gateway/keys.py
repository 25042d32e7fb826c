"""Idempotency keys of requests. `gateway.claims` has those of all gateways."""

from __future__ import annotations

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
    """Return the key of an image among several in one request; its number is its place, from 0."""
    return None if key is None else f"{key}/{number}"


def key_reused(frame_id: str) -> Problem:
    """Return the problem of a key that belongs to another image."""
    return Problem("key-reused", "this key was used with another image", instance=frame_id)
