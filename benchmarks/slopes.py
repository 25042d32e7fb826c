"""Straight line through samples whose neighbours are correlated."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

_BLOCKS = 20


def slope(at: Sequence[float], values: Sequence[float], blocks: int = _BLOCKS) -> tuple[float, float]:
    """Return the slope by least squares, and its standard error.

    Neighbouring samples of memory are correlated, so they tell less than their number suggests. The line therefore goes
    through the means of ``blocks`` groups of neighbouring samples, and each mean counts as one sample.

    Raises
    ------
    ValueError
        If there are fewer than three samples.

    Examples
    --------
    >>> slope(range(100), [5 + 2 * at for at in range(100)])
    (2.0, 0.0)
    """
    if len(at) < 3:
        raise ValueError(f"a line with an error through {len(at)} points")
    blocks = min(blocks, len(at))
    cuts = [number * len(at) // blocks for number in range(blocks + 1)]
    x = [statistics.fmean(at[begin:end]) for begin, end in itertools.pairwise(cuts)]
    y = [statistics.fmean(values[begin:end]) for begin, end in itertools.pairwise(cuts)]
    found = statistics.linear_regression(x, y)
    left = sum((value - found.intercept - found.slope * place) ** 2 for place, value in zip(x, y, strict=True))
    spread = sum((place - statistics.fmean(x)) ** 2 for place in x)
    return found.slope, math.sqrt(left / (blocks - 2) / spread)
