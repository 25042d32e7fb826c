"""Percentiles by nearest rank: each is a value that was measured, never one between two."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Points of the curves, in per cent; 100 is the maximum.
CURVE = (1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 100)
#: Points of the tables.
TABLE = (50, 95, 99, 99.9, 100)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent of them do not exceed.

    Examples
    --------
    >>> percentile([4.0, 1.0, 3.0, 2.0], 50), percentile([4.0, 1.0, 3.0, 2.0], 99)
    (2.0, 4.0)
    """
    return _ranked(sorted(values), percent)


def percentiles(values: Sequence[float], percents: Sequence[float] = CURVE) -> dict[str, float]:
    """Several at once, by their names as in ``p99.9`` and ``max``.

    Examples
    --------
    >>> percentiles([1.0, 2.0, 3.0], (50, 100))
    {'p50': 2.0, 'max': 3.0}
    """
    ordered = sorted(values)
    return {name(percent): _ranked(ordered, percent) for percent in percents}


def name(percent: float) -> str:
    """How a percentile is called.

    Examples
    --------
    >>> name(50), name(99.9), name(100)
    ('p50', 'p99.9', 'max')
    """
    return "max" if percent == 100 else f"p{percent:g}"


def _ranked(ordered: Sequence[float], percent: float) -> float:
    # Decimal fractions of a hundred are not exact in binary: 99.9 % of 1,000 is a little more than 999.
    return ordered[max(0, math.ceil(round(len(ordered) * percent / 100, 9)) - 1)]
