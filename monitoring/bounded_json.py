"""Unpacking and parsing of JSON of unknown origin within limits: bytes, depth and number of containers.

`json.loads` recurses on brackets, takes any size, and accepts NaN and Infinity, which RFC 8259 does not. A few hundred
bytes of deflate inflate to gigabytes. JSON from a topic or a file that anyone can write is read with these two
functions; they raise `ValueError` only.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from typing import Any

#: Deepest nesting that is accepted. JSON that this project writes is at most 12 deep.
MAX_DEPTH = 32
#: Most lists and objects in a text. Each costs at least some 64 bytes of memory.
MAX_CONTAINERS = 200_000

#: Most strings in a text, names of values among them. Each costs some 230 bytes of memory.
MAX_STRINGS = 250_000

#: A bracket; a string; or an unfinished string with all text behind it. There is no backtracking: time is linear.
_TOKENS = re.compile(r'[\[\]{}]|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def inflate(data: bytes, max_bytes: int) -> bytes:
    """Return the inflated content of zlib data.

    Raises
    ------
    ValueError
        If the data is damaged, truncated, has bytes after its end, or inflates to more than ``max_bytes``.

    Examples
    --------
    >>> inflate(zlib.compress(b"abc"), 3)
    b'abc'
    >>> inflate(zlib.compress(bytes(1_000_000)), 1000)
    Traceback (most recent call last):
    ...
    ValueError: inflates to more than 1000 bytes
    """
    unpack = zlib.decompressobj()
    try:
        found = unpack.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"not deflated: {error}") from error
    if len(found) > max_bytes:
        raise ValueError(f"inflates to more than {max_bytes} bytes")
    if not unpack.eof or unpack.unused_data:
        raise ValueError("deflated data ends early, or goes on after its end")
    return found


def parse(data: bytes, max_bytes: int) -> Any:
    """Return the value of a JSON text in UTF-8.

    NaN is accepted, since a state may hold one. Infinity is not, but a number such as 1e999 becomes infinity, and an
    integer may be larger than any float: callers must check the range of numbers.

    Raises
    ------
    ValueError
        If the text is over a limit, or is not JSON.

    Examples
    --------
    >>> parse(b'{"a": [1, 2]}', 100)
    {'a': [1, 2]}
    >>> parse(b"[" * 200_000, 1_000_000)
    Traceback (most recent call last):
    ...
    ValueError: JSON nested deeper than 32
    """
    if len(data) > max_bytes:
        raise ValueError(f"JSON of {len(data)} bytes, at most {max_bytes}")
    text = data.decode()
    if text.count("[") + text.count("{") > MAX_DEPTH or text.count('"') > 2 * MAX_STRINGS:
        _check_nesting(text)
    return json.loads(text, parse_constant=_constant)


def _check_nesting(text: str) -> None:
    # The counts are exact up to the first syntax error, where the parser stops.
    depth = containers = strings = 0
    for match in _TOKENS.finditer(text):
        sign = text[match.start()]
        if sign == '"':
            strings += 1
            if strings > MAX_STRINGS:
                raise ValueError(f"JSON of more than {MAX_STRINGS} strings")
        elif sign in "[{":
            depth, containers = depth + 1, containers + 1
            if depth > MAX_DEPTH:
                raise ValueError(f"JSON nested deeper than {MAX_DEPTH}")
            if containers > MAX_CONTAINERS:
                raise ValueError(f"JSON of more than {MAX_CONTAINERS} lists and objects")
        else:
            depth -= 1


def _constant(name: str) -> float:
    if name != "NaN":
        raise ValueError(f"JSON with {name}")
    return math.nan
