"""Calibration: a test of scores as probabilities, by reliability bins, expected calibration error and Brier score.

Each bin has the same number of parts (M. P. Naeini et al., "Obtaining well calibrated probabilities using Bayesian
binning", AAAI 2015, for the error). Brier score: G. W. Brier, Monthly Weather Review 78, 1950. Its decomposition:
A. H. Murphy, Journal of Applied Meteorology 12, 1973, with the variation within bins as a separate term
(D. B. Stephenson et al., Weather and Forecasting 23, 2008).
"""

from __future__ import annotations

import numpy as np

from models.wilson import wilson
from replay.analysis.points import Labelled
from replay.analysis.threshold_results import Calibration, CalibrationBin
from replay.analysis.view import View

BINS = 10


def calibrate(view: View, labels: Labelled) -> Calibration:
    """Return the calibration of the scores, estimated from the labels that represent all parts.

    The interval of a bin is Wilson's. Its sample size is the number of equally weighted labels that would be as certain
    (L. Kish, "Survey Sampling", 1965): the square of the sum of the weights over the sum of their squares.
    """
    if labels.why_not or not len(labels):
        return Calibration(why_not=f"cannot be estimated: {labels.why_not or 'no labelled part has a score'}")
    scores = view.score[np.isfinite(view.score)]
    # Bin edges are scores, so equal scores fall into one bin.
    edges = np.unique(np.quantile(scores, np.arange(1, BINS) / BINS, method="higher"))
    bin_of = np.searchsorted(edges, labels.score, side="right")
    all_bins = np.searchsorted(edges, scores, side="right")
    truth, weight = labels.is_defective.astype(np.float64), labels.weight
    total = float(weight.sum())
    base = float(weight @ truth) / total
    brier = float(weight @ (labels.score - truth) ** 2) / total
    bins = []
    error = reliability = resolution = 0.0
    for number in range(len(edges) + 1):
        here, parts = bin_of == number, scores[all_bins == number]
        if not here.any():
            continue
        mass = float(weight[here].sum())
        mean, share = (float(weight[here] @ values[here]) / mass for values in (labels.score, truth))
        effective = mass**2 / float(weight[here] @ weight[here])
        low, high = wilson_of(share, effective)
        error += mass / total * abs(mean - share)
        reliability += mass / total * (mean - share) ** 2
        resolution += mass / total * (share - base) ** 2
        bins.append(
            CalibrationBin(
                low=float(parts.min()),
                high=float(parts.max()),
                parts=len(parts),
                labelled=int(here.sum()),
                mean_score=mean,
                defective_share=share,
                share_low=low,
                share_high=high,
            )
        )
    uncertainty = base * (1 - base)
    return Calibration(
        bins=tuple(bins),
        expected_error=error,
        brier=brier,
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        within_bins=brier - reliability + resolution - uncertainty,
    )


def wilson_of(share: float, labels: float) -> tuple[float, float]:
    """Return Wilson's interval of a weighted share; ``labels`` need not be a whole number.

    Examples
    --------
    >>> wilson_of(0.9, 100) == wilson(90, 100)
    True
    """
    low, high = wilson(share * labels, labels)  # type: ignore[arg-type]
    return max(0.0, low), min(1.0, high)
