"""Area under the ROC curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def auroc(scores: Sequence[float], defective: Sequence[bool]) -> float:
    """Return the probability that a defective part scores above a good part; ties count half.

    Examples
    --------
    >>> auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(defective, bool)
    good = np.sort(values[~truth])
    below = np.searchsorted(good, values[truth], "left") + np.searchsorted(good, values[truth], "right")
    return float(below.mean() / 2 / len(good))
