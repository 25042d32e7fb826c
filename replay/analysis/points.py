"""Exact effect of each threshold: escapes and overkill of a rule that rejects all scores from the threshold on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.analysis.arrays import Floats
from replay.analysis.table import DEFECTIVE
from replay.analysis.threshold_results import ThresholdCurve
from replay.analysis.view import NOT_OK, Flags, View, unrepresented_action

#: Number of points of a displayed curve.
MAX_POINTS = 1_001


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Labels with a score, for judging thresholds.

    Parameters
    ----------
    score, is_defective, weight
        Values of each label, in ascending order of the scores.
    rejects
        True for each label that the threshold in use rejects.
    stratum
        Number of the group in which the bootstrap resamples the label.
    why_not
        Reason why the weights do not represent all parts; all weights are then 1. Empty if they do.
    """

    score: Floats
    is_defective: Flags
    weight: Floats
    rejects: Flags
    stratum: np.ndarray[tuple[int], np.dtype[np.int64]]
    why_not: str

    @classmethod
    def of(cls, view: View) -> Labelled:
        """Return the labels of a view that represent all parts; if they do not, return all labels unweighted."""
        why_not = unrepresented_action(view)
        counted = (view.labelled if why_not else view.is_counted) & np.isfinite(view.score)
        rows = np.flatnonzero(counted)
        rows = rows[np.argsort(view.score[rows], kind="stable")]
        weight = np.ones(len(rows)) if why_not else view.weight[rows]
        cell = view.cell[rows]
        _, stratum = np.unique(np.stack([cell.astype(np.float64), weight]), axis=1, return_inverse=True)
        return cls(
            view.score[rows], view.truth[rows] == DEFECTIVE, weight, view.verdict[rows] == NOT_OK,
            stratum.reshape(-1).astype(np.int64), why_not,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.score)

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of labels of good parts and of defective parts."""
        bad = int(self.is_defective.sum())
        return len(self) - bad, bad


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Escapes and overkill, in parts, of every threshold that makes a difference to the labels; ascending.

    The thresholds are 0, 1, the scores between them and the threshold in use. A part whose score equals the threshold
    is rejected.

    Examples
    --------
    >>> labels = Labelled(np.array([0.2, 0.4, 0.4]), np.array([False, False, True]), np.array([10.0, 1.0, 1.0]),
    ...                   np.zeros(3, bool), np.zeros(3, np.int64), "")
    >>> points = Points.of(labels)
    >>> points.thresholds.tolist(), points.escapes.tolist(), points.overkill.tolist()
    ([0.0, 0.2, 0.4, 1.0], [0.0, 0.0, 0.0, 1.0], [11.0, 11.0, 1.0, 0.0])
    """

    thresholds: Floats
    escapes: Floats
    overkill: Floats
    defective: float
    good: float

    @classmethod
    def of(cls, labels: Labelled, present: float | None = None) -> Points:
        """Compute the points of the labels; ``present`` is an additional threshold."""
        within = labels.score[(labels.score >= 0.0) & (labels.score <= 1.0)]
        thresholds = np.unique(np.concatenate([within, [0.0, 1.0], [] if present is None else [present]]))
        below = np.searchsorted(labels.score, thresholds, side="left")
        bad = np.concatenate([[0.0], np.cumsum(labels.weight * labels.is_defective)])
        good = np.concatenate([[0.0], np.cumsum(labels.weight * ~labels.is_defective)])
        return cls(thresholds, bad[below], good[-1] - good[below], float(bad[-1]), float(good[-1]))

    def cost(self, cost_ratio: float) -> Floats:
        """Return the cost of each threshold, in overkills."""
        return cost_ratio * self.escapes + self.overkill


def curve_of(
    view: View, labels: Labelled, cost_ratio: float, present: float | None, best: float | None
) -> ThresholdCurve:
    """Return the curve for display; it includes the threshold in use and the recommended one."""
    marks = [mark for mark in (present, best) if mark is not None]
    points = Points.of(labels, present)
    chosen = np.unique(np.linspace(0, len(points.thresholds) - 1, MAX_POINTS).round().astype(np.int64))
    nearest = [int(np.abs(points.thresholds - mark).argmin()) for mark in marks]
    chosen = np.unique(np.concatenate([chosen, np.array(nearest, np.int64)]))
    thresholds, escapes, overkill = points.thresholds[chosen], points.escapes[chosen], points.overkill[chosen]
    scores = np.sort(view.score[np.isfinite(view.score)])
    found = points.defective - escapes
    at = [int(np.searchsorted(chosen, mark)) for mark in nearest]
    return ThresholdCurve(
        thresholds=thresholds,
        escape_rate=_share(escapes, points.defective),
        overkill_rate=_share(overkill, points.good),
        precision=_share(found, found + overkill),
        recall=_share(found, points.defective),
        escapes=escapes,
        overkill=overkill,
        rejected=len(scores) - np.searchsorted(scores, thresholds, side="left").astype(np.int64),
        cost=cost_ratio * escapes + overkill,
        cost_ratio=cost_ratio,
        average_precision=average_precision(labels),
        roc_auc=roc_auc(labels),
        present_threshold=present,
        present_at=at.pop(0) if present is not None else None,
        recommended_at=at.pop(0) if best is not None else None,
        why_not=labels.why_not,
    )


def average_precision(labels: Labelled) -> float | None:
    """Return the mean precision over the recall.

    It is the sum of (R_n - R_n-1) P_n over descending thresholds; ties count as one.
    The definition is that of scikit-learn, without interpolation. None if there is no defective part.
    """
    _, first = np.unique(labels.score, return_index=True)
    bad = np.concatenate([[0.0], np.cumsum(labels.weight * labels.is_defective)])
    everything = np.concatenate([[0.0], np.cumsum(labels.weight)])
    if not bad[-1] > 0:
        return None
    found, rejected = (bad[-1] - bad[first])[::-1], (everything[-1] - everything[first])[::-1]
    return float(np.sum(np.diff(found, prepend=0.0) * found / rejected) / bad[-1])


def roc_auc(labels: Labelled) -> float | None:
    """Return the probability that a defective part scores higher than a good one (J. A. Hanley, B. J. McNeil, 1982).

    Ties count by half. None if there are not both good and defective parts.
    """
    unique, at = np.unique(labels.score, return_inverse=True)
    bad = np.bincount(at, labels.weight * labels.is_defective, len(unique))
    good = np.bincount(at, labels.weight * ~labels.is_defective, len(unique))
    if not (len(unique) and bad.sum() > 0 and good.sum() > 0):
        return None
    return float(np.sum(bad * (np.cumsum(good) - good / 2)) / (bad.sum() * good.sum()))


def _share(part: Floats, whole: Floats | float) -> Floats:
    total = np.broadcast_to(np.asarray(whole, np.float64), part.shape)
    shares: Floats = np.divide(part, total, out=np.full(part.shape, np.nan), where=total > 0)
    return shares
