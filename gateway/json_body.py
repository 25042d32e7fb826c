"""JSON of requests."""

from __future__ import annotations

import json
from typing import Any


def read_json(text: str | bytes) -> Any:
    """Read JSON as its schemas mean it: ``1.0`` is the whole number 1, and NaN does not exist.

    Raises
    ------
    ValueError
        If the text is not JSON, or is nested too deeply.

    Examples
    --------
    >>> read_json('{"a": 1.0, "b": 2e3, "c": 0.5}')
    {'a': 1, 'b': 2000, 'c': 0.5}
    >>> read_json("NaN")
    Traceback (most recent call last):
    ValueError: NaN is not JSON
    """
    try:
        return json.loads(text, parse_float=_number, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
