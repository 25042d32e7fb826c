"""A straight line through figures that neighbour each other."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

_BLOCKS = 20


def slope(at: Sequence[float], values: Sequence[float], blocks: int = _BLOCKS) -> tuple[float, float]:
    """Slope by least squares and its standard error.

    Neighbouring samples of memory are alike, and so are worth less than their number: the line goes through the means
    of ``blocks`` stretches of them, each as good as one sample.

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
