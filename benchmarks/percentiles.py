"""Percentiles by nearest rank: each one is a measured value, never a value between two of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Points of the curves, in per cent; 100 is the maximum.
CURVE = (1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 100)
#: Points of the tables.
TABLE = (50, 95, 99, 99.9, 100)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` per cent of the values do not exceed.

    Examples
    --------
    >>> percentile([4.0, 1.0, 3.0, 2.0], 50), percentile([4.0, 1.0, 3.0, 2.0], 99)
    (2.0, 4.0)
    """
    return _ranked(sorted(values), percent)


def percentiles(values: Sequence[float], percents: Sequence[float] = CURVE) -> dict[str, float]:
    """Return several percentiles by their names, such as ``p99.9`` and ``max``.

    Examples
    --------
    >>> percentiles([1.0, 2.0, 3.0], (50, 100))
    {'p50': 2.0, 'max': 3.0}
    """
    ordered = sorted(values)
    return {name(percent): _ranked(ordered, percent) for percent in percents}


def name(percent: float) -> str:
    """Return the name of a percentile.

    Examples
    --------
    >>> name(50), name(99.9), name(100)
    ('p50', 'p99.9', 'max')
    """
    return "max" if percent == 100 else f"p{percent:g}"


def _ranked(ordered: Sequence[float], percent: float) -> float:
    # Decimal fractions of a hundred are inexact in binary: 99.9 % of 1,000 is computed as a little more than 999.
    return ordered[max(0, math.ceil(round(len(ordered) * percent / 100, 9)) - 1)]
