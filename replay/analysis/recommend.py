"""The cheapest threshold for a cost ratio, how sure it is, and what it would have changed.

The interval and the expected saving come from 2,000 bootstrap resamples (B. Efron and R. J. Tibshirani, "An
Introduction to the Bootstrap", 1993) with a fixed seed: in each, the number of parts of every stratum is drawn, and its
labels with replacement. A threshold that is the best on some labels looks better on these than it is; by how much is
estimated from the resamples, whose best thresholds are tried on the labels themselves (section 17.6 there), and taken
off. The resamples know at most 256 thresholds.
"""

from __future__ import annotations

import numpy as np

from replay.analysis.points import Labelled, Points
from replay.analysis.results import Moved, Recommendation
from replay.analysis.view import ACTIONS, NOT_OK, Floats, View
from replay.table import DEFECTIVE, GOOD

#: Labels of either truth below which a recommendation comes with a warning.
FEW_LABELS = 20
DEFAULT_COST_RATIO = 20.0
_RESAMPLES = 2_000
_GRID = 256
_MAX_ROWS = 100


def recommend(view: View, labels: Labelled, cost_ratio: float = DEFAULT_COST_RATIO) -> Recommendation:
    """The threshold with the smallest ``cost_ratio * escapes + overkill``; the one in use if none is cheaper.

    Parameters
    ----------
    cost_ratio
        Overkills that one escape costs.
    """
    present = threshold_in_use(view)
    good, bad = labels.counts
    why_not = labels.why_not
    if not why_not and not (good and bad):
        why_not = (
            "no labelled part has a score"
            if not good + bad
            else f"no {'good' if bad else 'defective'} part is labelled"
        )
    if why_not:
        return Recommendation(
            threshold=None,
            cost_ratio=cost_ratio,
            present_threshold=present,
            why_not=f"cannot be recommended: {why_not}",
        )
    points = Points.of(labels, present)
    cost = points.cost(cost_ratio)
    present_escapes = float(labels.weight[labels.is_defective & ~labels.rejects].sum())
    present_overkill = float(labels.weight[~labels.is_defective & labels.rejects].sum())
    present_cost = cost_ratio * present_escapes + present_overkill
    lowest = float(cost.min())
    at_lowest = np.flatnonzero(cost <= lowest + 1e-9 * (1 + lowest))
    is_change = present_cost > lowest + 1e-9 * (1 + lowest)
    if present is not None and not is_change:
        at, threshold = int(np.searchsorted(points.thresholds, present)), present
    else:
        aim = 0.5 if present is None else present
        at = int(at_lowest[np.abs(points.thresholds[at_lowest] - aim).argmin()])
        threshold = plain(points.thresholds[at - 1], points.thresholds[at]) if at else 0.0
    low, high, optimism, savings = _bootstrap(labels, points, at, cost_ratio)
    parts = float(labels.weight.sum())
    saving = present_cost - float(cost[at])
    saving_low, saving_high = np.quantile(savings, [0.025, 0.975]) - optimism
    moves = (view.score >= threshold) != (view.verdict == NOT_OK)
    moves &= np.isfinite(view.score)
    if not is_change:
        moves[:] = False
    return Recommendation(
        threshold=float(threshold),
        cost_ratio=cost_ratio,
        low=min(low, float(threshold)),
        high=max(high, float(threshold)),
        present_threshold=present,
        escape_rate=float(points.escapes[at] / points.defective),
        overkill_rate=float(points.overkill[at] / points.good),
        present_escape_rate=present_escapes / points.defective,
        present_overkill_rate=present_overkill / points.good,
        saving_per_1000=1000 * (saving - optimism) / parts if is_change else 0.0,
        saving_low=1000 * float(saving_low) / parts if is_change else 0.0,
        saving_high=1000 * float(saving_high) / parts if is_change else 0.0,
        saving_on_stretch=saving,
        is_change=is_change,
        moved=_moved(view, moves),
        rows=tuple(int(row) for row in view.rows[moves][:_MAX_ROWS]),
        warnings=_warnings(view, good, bad, threshold),
    )


def threshold_in_use(view: View) -> float | None:
    """The threshold of all rows; None if there are several, or none."""
    found = np.unique(view.threshold[np.isfinite(view.threshold)])
    return float(found[0]) if len(found) == 1 else None


def plain(low: float, high: float) -> float:
    """The number above ``low``, up to ``high``, that has the fewest digits and lies near the middle.

    Examples
    --------
    >>> plain(0.4179, 0.4442), plain(0.2, 0.3), plain(0.5, np.nextafter(0.5, 1))
    (0.43, 0.25, 0.5000000000000001)
    """
    middle = (low + high) / 2
    for digits in range(2, 18):
        found = round(float(middle), digits)
        if low < found <= high:
            return found
    return float(high)


def _bootstrap(labels: Labelled, points: Points, at: int, cost_ratio: float) -> tuple[float, float, float, Floats]:
    """Interval of the best threshold, optimism of its saving (in overkills), and savings of the point ``at``."""
    count = len(points.thresholds)
    grid = np.unique(np.append(np.linspace(0, count - 1, _GRID).round().astype(np.int64), at))
    thresholds = points.thresholds[grid]
    middles = np.array([plain(points.thresholds[k - 1], points.thresholds[k]) if k else 0.0 for k in grid])
    chosen = int(np.searchsorted(grid, at))
    # A label is accepted by the thresholds from this one on.
    first = np.searchsorted(thresholds, labels.score, side="right")
    width = len(grid) + 1
    kind = (first * 2 + labels.is_defective) * 2 + labels.rejects
    random = np.random.default_rng(0)
    strata = int(labels.stratum.max()) + 1
    parts = np.bincount(labels.stratum, labels.weight, strata)
    drawn_parts = random.multinomial(round(parts.sum()), parts / parts.sum(), _RESAMPLES)
    bad, good = np.zeros((_RESAMPLES, width)), np.zeros((_RESAMPLES, width))
    present = np.zeros(_RESAMPLES)
    for stratum in range(strata):
        kinds, counts = np.unique(kind[labels.stratum == stratum], return_counts=True)
        drawn = random.multinomial(counts.sum(), counts / counts.sum(), _RESAMPLES)
        weighted = drawn * (drawn_parts[:, stratum] / counts.sum())[:, None]
        place, is_bad, rejects = kinds // 4, kinds // 2 % 2 == 1, kinds % 2 == 1
        for number in range(4):
            which = kinds % 4 == number  # no place is in it twice
            (bad if number >= 2 else good)[:, place[which]] += weighted[:, which]
        present += weighted @ np.where(is_bad, cost_ratio * ~rejects, rejects)
    costs = cost_ratio * np.cumsum(bad, axis=1)[:, :-1] + good.sum(axis=1)[:, None] - np.cumsum(good, axis=1)[:, :-1]
    lowest = costs.min(axis=1, keepdims=True)
    # Of equally good ones the nearest to the one that is recommended.
    distance = np.abs(middles - middles[chosen])
    best = np.where(costs <= lowest + 1e-9 * (1 + lowest), distance, np.inf).argmin(axis=1)
    low, high = (float(bound) for bound in np.quantile(middles[best], [0.025, 0.975], method="nearest"))
    real = points.cost(cost_ratio)[grid]
    real_present = float(labels.weight @ np.where(labels.is_defective, cost_ratio * ~labels.rejects, labels.rejects))
    seen = present - costs[np.arange(_RESAMPLES), best]
    optimism = float(np.mean(seen - (real_present - real[best])))
    return low, high, optimism, present - costs[:, chosen]


def _moved(view: View, moves: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[Moved, ...]:
    found = []
    for number, action in enumerate(ACTIONS):
        for becomes, is_rejected_now in (("REJECT", False), ("ACCEPT", True)):
            which = moves & (view.action == number) & ((view.verdict == NOT_OK) == is_rejected_now)
            if which.any():
                truth = view.truth[which]
                good, bad = int((truth == GOOD).sum()), int((truth == DEFECTIVE).sum())
                found.append(Moved(was=action.value, becomes=becomes, parts=int(which.sum()), good=good, defective=bad))
    return tuple(found)


def _warnings(view: View, good: int, bad: int, threshold: float) -> tuple[str, ...]:
    found = []
    rejected = int((view.score >= threshold).sum())
    if rejected in (0, int(np.isfinite(view.score).sum())):
        what = "rejects every part" if rejected else "accepts every part"
        found.append(f"the cheapest threshold {what}: for this cost ratio the scores tell too little")
    for count, what in ((bad, "defective"), (good, "good")):
        if count < FEW_LABELS:
            found.append(f"the threshold rests on labels of {count} {what} parts: {FEW_LABELS} are few")
    if threshold_in_use(view) is None:
        found.append("several thresholds were in use: the saving is against what each part's own did")
    return tuple(found)
