"""Checks of type and range for values of unknown origin, before any computation with them.

Each function returns the value, or raises `ValueError` with the fault. No function converts: a text is not a number,
and a list is not a text.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

#: Longest text of a state: ids, and names of products, models and defects.
MAX_TEXT = 10_000
#: Times and offsets fit into 64 bits, as in Kafka and Avro.
MAX_LONG = 2**63 - 1
#: Largest number, so that squares and sums of many numbers stay finite.
MAX_NUMBER = 1e30


def text(value: Any, longest: int = MAX_TEXT) -> str:
    """Return a text that UTF-8 can encode.

    Examples
    --------
    >>> text("abc")
    'abc'
    """
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"{_shown(value)} is no text of at most {longest} characters")
    value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    return value


def optional_text(value: Any, longest: int = MAX_TEXT) -> str | None:
    """Return a text, or None."""
    return None if value is None else text(value, longest)


def whole(value: Any, low: int = 0, high: int = MAX_LONG) -> int:
    """Return a whole number within ``[low, high]``.

    Examples
    --------
    >>> whole(3, 0, 5)
    3
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{_shown(value)} is no whole number from {low} to {high}")
    return value


def number(value: Any, low: float = -MAX_NUMBER, high: float = MAX_NUMBER) -> float:
    """Return a finite number within ``[low, high]`` as a float.

    Examples
    --------
    >>> number(1, 0.0, 5.0)
    1.0
    """
    # Python compares whole numbers with floats exactly, at any size.
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{_shown(value)} is no number from {low:g} to {high:g}")
    return float(value)


def number_or_nan(value: Any, low: float = -MAX_NUMBER, high: float = MAX_NUMBER) -> float:
    """Return a number as `number` does, or NaN."""
    return math.nan if isinstance(value, float) and math.isnan(value) else number(value, low, high)


def flag(value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{_shown(value)} is neither true nor false")
    return value


def items(value: Any, most: int, least: int = 0) -> list[Any]:
    """Return a list of ``least`` to ``most`` values."""
    if not isinstance(value, list | tuple) or not least <= len(value) <= most:
        raise ValueError(f"{_shown(value)} is no list of {least} to {most} values")
    return list(value)


def mapping(value: Any, most: int) -> dict[str, Any]:
    """Return an object of at most ``most`` names, each a text."""
    if not isinstance(value, dict) or len(value) > most:
        raise ValueError(f"{_shown(value)} is no object of at most {most} names")
    return {text(name): found for name, found in value.items()}


def fields(value: Any, names: Collection[str]) -> dict[str, Any]:
    """Return an object that has at least these names."""
    found = mapping(value, 100)
    for name in names:
        if name not in found:
            raise ValueError(f"{name} is missing")
    return found


def numbers(value: Any, most: int, high: float = MAX_NUMBER) -> dict[str, float]:
    """Return an object of finite numbers within ``[-high, high]``."""
    return {name: number(found, -high, high) for name, found in mapping(value, most).items()}


def _shown(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Python refuses to turn a huge whole number into decimal text.
        return repr(value) if isinstance(value, float) or abs(value) < 10**30 else "a huge number"
    return repr(value[:40]) if isinstance(value, str) else f"a {type(value).__name__}"
