"""Whether scores are probabilities: reliability by bins, expected calibration error, Brier score.

Bins hold equally many parts (M. P. Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning",
AAAI 2015, for the error). Brier score: G. W. Brier, Monthly Weather Review 78, 1950; in parts by A. H. Murphy, Journal
of Applied Meteorology 12, 1973, with what varies within bins as a term of its own (D. B. Stephenson et al., Weather and
Forecasting 23, 2008).
"""

from __future__ import annotations

import numpy as np

from models.wilson import wilson
from replay.analysis.points import Labelled
from replay.analysis.results import Calibration, CalibrationBin
from replay.analysis.view import View

BINS = 10


def calibrate(view: View, labels: Labelled) -> Calibration:
    """Calibration of the scores by the labels that speak for all parts.

    A bin's interval is Wilson's, with the number of equally weighted labels that would be as sure (L. Kish, "Survey
    Sampling", 1965): the square of the sum of the weights over the sum of their squares.
    """
    if labels.why_not or not len(labels):
        return Calibration(why_not=f"cannot be estimated: {labels.why_not or 'no labelled part has a score'}")
    scores = view.score[np.isfinite(view.score)]
    # Bins begin at scores: equal scores are in one bin.
    edges = np.unique(np.quantile(scores, np.arange(1, BINS) / BINS, method="higher"))
    place = np.searchsorted(edges, labels.score, side="right")
    all_places = np.searchsorted(edges, scores, side="right")
    truth, weight = labels.is_defective.astype(np.float64), labels.weight
    total = float(weight.sum())
    base = float(weight @ truth) / total
    brier = float(weight @ (labels.score - truth) ** 2) / total
    bins = []
    error = reliability = resolution = 0.0
    for number in range(len(edges) + 1):
        here, parts = place == number, scores[all_places == number]
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
    """Wilson's interval of a weighted share; ``labels`` need not be whole.

    Examples
    --------
    >>> wilson_of(0.9, 100) == wilson(90, 100)
    True
    """
    low, high = wilson(share * labels, labels)  # type: ignore[arg-type]
    return max(0.0, low), min(1.0, high)
