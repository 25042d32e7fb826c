"""Limits of scores: from its limit on, a part is rejected, as by the rule of a decision (`models.rule`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Way from the last accepted score to the limit, as a share of the spread of the scores and of the way to the next one.
#: Rounding, also to float32 in the network, is smaller.
_STEP, _STEP_TO_NEXT = 1e-4, 0.1
#: Least spread that scores are taken to have, as a share of the last accepted one.
_LEAST_SPREAD = 0.01


def rejected(scores: NDArray[np.floating], limit: NDArray[np.floating] | float) -> NDArray[np.bool_]:
    """Return which scores are rejected: those from the limit on.

    Examples
    --------
    >>> rejected(np.array([0.49, 0.5, 0.51]), 0.5).tolist()
    [False, True, True]
    """
    return np.asarray(scores >= limit)


def conformal_limit(scores: NDArray[np.floating], share: float) -> float:
    """Return a limit that a share of further good images will reach, at most, on average.

    It lies a little above the last accepted score. With n scores, that is the ceil((n + 1)(1 - share))-th smallest
    (split conformal prediction: V. Vovk et al., "Algorithmic Learning in a Random World", 2005). If that is beyond the
    largest score, it is the largest.

    Examples
    --------
    >>> limits = [conformal_limit(np.arange(count, dtype=float), 0.05) for count in (99, 10)]
    >>> limits
    [94.0094, 9.0009]
    >>> [int(rejected(np.arange(count), limit).sum()) for count, limit in zip((99, 10), limits)]
    [4, 0]
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    rank = int(np.ceil((len(ordered) + 1) * (1 - share)))
    last = float(ordered[min(rank, len(ordered)) - 1])
    step = _STEP * max(last - float(ordered[0]), _LEAST_SPREAD * abs(last))
    above = ordered[ordered > last]
    if len(above):
        step = min(step, _STEP_TO_NEXT * float(above[0] - last))
    return max(last + step, float(np.nextafter(last, np.inf)))
