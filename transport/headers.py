"""Headers of a message that librdkafka has read, whatever their names are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from operator import methodcaller
from typing import Any, Protocol

#: For a name that is not UTF-8, confluent-kafka 2.16 sets an error and still returns a list, with holes whose use ends
#: the process. A plain ``message.headers()``, once CPython has specialised it, does not see the error; this call does.
#: Call it only once for each message: the second call returns the list without the error.
_ASK_HEADERS = methodcaller("headers")


class HasHeaders(Protocol):
    """Message of confluent-kafka, or one like it."""

    def headers(self) -> Any:
        """Return names and values."""


Headers = Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]]


def header_map(headers: Headers | None) -> dict[str, bytes]:
    """Return headers by name. A null value becomes empty; of several headers with one name the last one counts.

    Examples
    --------
    >>> header_map([("lot", b"7"), ("empty", None)])
    {'lot': b'7', 'empty': b''}
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return {name: value or b"" for name, value in pairs}


def message_headers(message: HasHeaders) -> dict[str, bytes]:
    """Return the headers of a message by name, see `header_map`. Call it only once for each message.

    The result is empty if the name of a header is not UTF-8: the client then returns no headers at all.
    """
    try:
        headers: Any = _ASK_HEADERS(message) or []
    except (SystemError, UnicodeDecodeError):
        return {}
    return header_map(headers)


#: Most headers of a message that are passed on, and most bytes of their names and values.
MOST_HEADERS, MOST_HEADER_BYTES = 1_000, 64 * 1024


def bounded(headers: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the headers that fit into `MOST_HEADERS` and `MOST_HEADER_BYTES`, in order, without the others.

    Examples
    --------
    >>> list(bounded({"lot": b"7", "large": bytes(100_000), "shift": b"2"}))
    ['lot', 'shift']
    """
    kept: dict[str, bytes] = {}
    left_bytes = MOST_HEADER_BYTES
    for name, value in itertools.islice(headers.items(), MOST_HEADERS):
        size = 4 * len(name) + len(value)  # a character has at most 4 bytes
        if size <= left_bytes:
            kept[name] = value
            left_bytes -= size
    return kept
