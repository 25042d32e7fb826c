"""Dead letters of bounded size: a large value is cut, and its size and digest identify it.

The value of a cut letter is the beginning of the message. The whole message lies in its source topic, at the place
that the letter names, for as long as that topic keeps it. Size and digest travel in headers of the record, so that
older readers accept such letters too.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator

from schemas.records import DeadLetter

#: Number of bytes of a value that a letter keeps.
KEPT_VALUE_BYTES = 256 * 1024
#: Longest key in bytes; a longer key is left out.
KEPT_KEY_BYTES = 4 * 1024
#: Headers of a letter whose value was cut: size in bytes, decimal, and SHA-256, hex, of the whole value.
VALUE_SIZE_HEADER = "inspection-value-bytes"
VALUE_SHA256_HEADER = "inspection-value-sha256"
_OURS = (VALUE_SIZE_HEADER, VALUE_SHA256_HEADER)
_SHORT_TEXT = 200


def cut(letter: DeadLetter, keep_bytes: int = KEPT_VALUE_BYTES) -> DeadLetter:
    """Return a letter with its value cut to the first bytes, and without a long key; 0 drops the whole value.

    Examples
    --------
    >>> letter = DeadLetter(source_topic="t", source_partition=0, source_offset=7, kind="truncated", reason="",
    ...                     failed_at_us=0, worker="w", value=bytes(1_000_000))
    >>> small = cut(letter)
    >>> len(small.value), whole_size(small)
    (262144, 1000000)
    """
    # The message itself may have such headers; they would be false for the letter.
    headers = {name: value for name, value in letter.headers.items() if name not in _OURS}
    key = letter.key if len(letter.key or b"") <= KEPT_KEY_BYTES else None
    value = letter.value
    if value is not None and len(value) > keep_bytes:
        headers[VALUE_SIZE_HEADER] = str(len(value)).encode()
        headers[VALUE_SHA256_HEADER] = hashlib.sha256(value).hexdigest().encode()
        value = value[:keep_bytes] or None
    return dataclasses.replace(letter, key=key, value=value, headers=headers)


def whole_size(letter: DeadLetter) -> int | None:
    """Return the size in bytes of the whole value of a cut letter; None if it was not cut, or the size is unknown."""
    digits = letter.headers.get(VALUE_SIZE_HEADER, b"")
    return int(digits) if digits.isdigit() and len(digits) <= 10 else None


def whole_sha256(letter: DeadLetter) -> str:
    """Return the SHA-256 of the whole value of a cut letter, hex; empty if unknown."""
    return letter.headers.get(VALUE_SHA256_HEADER, b"").decode("ascii", "replace")


def smaller(letter: DeadLetter) -> Iterator[DeadLetter]:
    """Yield smaller forms of a letter, each for a topic that refused the form before; all forms keep the place."""
    size, digest = whole_size(letter), letter.headers.get(VALUE_SHA256_HEADER)
    bare = cut(letter, 0)
    if size is not None and digest is not None:  # those of the whole value, not of the cut value
        bare = dataclasses.replace(
            bare, headers={**bare.headers, VALUE_SIZE_HEADER: str(size).encode(), VALUE_SHA256_HEADER: digest}
        )
    yield bare
    few = {name: bare.headers[name] for name in _OURS if name in bare.headers}
    yield dataclasses.replace(bare, headers=few, key=None, reason=letter.reason[:_SHORT_TEXT])
    yield dataclasses.replace(bare, headers={}, key=None, frame_id=None, reason="", worker="")
