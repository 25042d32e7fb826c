"""Estimate of the point at which a stream of errors has risen, with its likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """Best split of a stream in two.

    ``index`` is the first outcome of the later part, ``before`` and ``after`` are the shares of errors.
    ``log_likelihood_ratio`` tells how much better two rates explain the stream than one (0: no rise at all).
    """

    index: int
    before: float
    after: float
    labels_before: int
    labels_after: int
    log_likelihood_ratio: float


def rise(errors: Sequence[bool], earlier: int = 0, earlier_errors: int = 0) -> ChangePoint:
    """Split a stream where the rate of errors rises most clearly (generalised likelihood ratio, one-sided).

    D. Siegmund and E. S. Venkatraman, "Using the generalized likelihood ratio statistic for sequential detection of a
    change-point", Annals of Statistics 23(1), 1995; here for Bernoulli variables.

    Parameters
    ----------
    errors
        The newest outcomes, oldest first; the split is among them.
    earlier, earlier_errors
        Number of outcomes before them, and of errors among those.

    Examples
    --------
    >>> found = rise([False] * 50 + [True] * 5)
    >>> found.index, found.before, found.after, round(found.log_likelihood_ratio, 1)
    (50, 0.0, 1.0, 16.8)
    >>> rise([True] * 10 + [False] * 10).log_likelihood_ratio
    0.0
    """
    total = len(errors)
    if not total or earlier + total < 2:
        return ChangePoint(0, 0.0, 0.0, earlier, total, 0.0)
    cumulated = np.concatenate([[0], np.cumsum(np.asarray(errors, np.int64))])
    split = np.arange(0 if earlier else 1, total)
    errors_before, before = earlier_errors + cumulated[split], earlier + split
    errors_after, after = cumulated[-1] - cumulated[split], total - split
    together = _log_likelihood(np.array([earlier_errors + cumulated[-1]]), np.array([earlier + total]))[0]
    ratio = _log_likelihood(errors_before, before) + _log_likelihood(errors_after, after) - together
    ratio = np.where(errors_after * before > errors_before * after, np.maximum(ratio, 0.0), 0.0)
    best = int(np.argmax(ratio))
    return ChangePoint(
        int(split[best]),
        float(errors_before[best] / before[best]),
        float(errors_after[best] / after[best]),
        int(before[best]),
        int(after[best]),
        float(ratio[best]),
    )


def _log_likelihood(errors: NDArray[np.int64], total: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log likelihood of Bernoulli outcomes at their own rate; 0 log 0 is 0."""
    result = np.zeros(len(errors))
    for count in (errors, total - errors):
        some = count > 0
        result[some] += count[some] * np.log(count[some] / total[some])
    return result
