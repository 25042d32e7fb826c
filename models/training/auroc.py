"""Area under the ROC curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.wilson import wilson


def auroc(scores: Sequence[float], defective: Sequence[bool]) -> float:
    """Return the probability that a defective part scores above a good part; ties count half.

    Examples
    --------
    >>> auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(defective, bool)
    return float(_placements(values[truth], values[~truth]).mean())


def auroc_interval(good: NDArray[np.floating], defective: NDArray[np.floating]) -> tuple[float, float]:
    """Return the bounds of the 95 % interval of the AUROC, on the logit scale.

    The variance is that of E. R. DeLong et al., Biometrics 44, 1988. It says nothing where the scores do not overlap:
    then it is Wilson's interval of the smaller class.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> [round(bound, 2) for bound in auroc_interval(rng.normal(0, 1, 200), rng.normal(1.5, 1, 50))]
    [0.81, 0.91]
    >>> auroc_interval(np.zeros(20), np.ones(10))[1]
    1.0
    """
    by_defect, by_good = _placements(defective, good), 1 - _placements(good, defective)
    area, fewest = float(by_defect.mean()), min(len(good), len(defective))
    if fewest < 2 or area in (0.0, 1.0):
        low, high = wilson(round(area * fewest), fewest)
        return low, 1.0 if area == 1.0 else high
    deviation = math.sqrt(by_defect.var(ddof=1) / len(defective) + by_good.var(ddof=1) / len(good))
    centre, half = math.log(area / (1 - area)), 1.96 * deviation / (area * (1 - area))
    return 1 / (1 + math.exp(half - centre)), 1 / (1 + math.exp(-half - centre))


def _placements(values: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return for each value the share of others below it; equal ones count half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(below / 2 / len(ordered), np.float64)
