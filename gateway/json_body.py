"""JSON of requests, bounded before it is parsed: a value takes up to a hundred times its text in memory."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from gateway.problems import Problem

#: Most values, objects and lists of a request. Commas and brackets in texts count as well; base64 has none.
MOST_VALUES = 10_000


def read_json(text: bytes) -> Any:
    """Read JSON as its schemas mean it: ``1.0`` is the whole number 1, and NaN does not exist.

    Raises
    ------
    ValueError
        If the text is not JSON, or is nested too deeply.
    Problem
        ``bad-request`` if it has more than `MOST_VALUES` values, or an object has a name twice (RFC 8259, section 4).

    Examples
    --------
    >>> read_json(b'{"a": 1.0, "b": 2e3, "c": 0.5}')
    {'a': 1, 'b': 2000, 'c': 0.5}
    >>> read_json(b"NaN")
    Traceback (most recent call last):
    ValueError: NaN is not JSON
    >>> read_json(b"[" + b"0," * 10_000 + b"0]")
    Traceback (most recent call last):
    ...
    gateway.problems.Problem: the JSON has more than 10000 values
    >>> read_json(b'{"part_id": "P1", "part_id": "P2"}')
    Traceback (most recent call last):
    ...
    gateway.problems.Problem: the JSON has 'part_id' twice in one object
    """
    if sum(map(text.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise Problem("bad-request", f"the JSON has more than {MOST_VALUES} values")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_float=_number, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = Counter(name for name, _ in pairs)
        raise Problem("bad-request", f"the JSON has {seen.most_common(1)[0][0][:60]!r} twice in one object")
    return found


def _number(text: str) -> int | float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return int(number) if number.is_integer() else number


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
