"""Recommendation: the cheapest threshold for a cost ratio, its uncertainty, and its effect on recorded parts.

A threshold that is the best one on some labels looks better on these labels than it is. Two errors are estimated from
2,000 resamples with a fixed seed (B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, sections
16.5 and 17.6): the error of the threshold, and the excess of its apparent quality. Each resample draws the number of
parts of every stratum, then its labels. It then finds the best threshold, and tries it on the population from which
the resample was drawn. The scores are smoothed first. Without smoothing a resample has few different errors near the
threshold, and the best threshold looks too certain and too good. Resamples use about 256 thresholds.
"""

from __future__ import annotations

import numpy as np

from replay.analysis.arrays import Floats, Integers
from replay.analysis.points import Labelled, Points
from replay.analysis.table import DEFECTIVE, GOOD
from replay.analysis.threshold_results import Moved, Recommendation
from replay.analysis.view import ACTIONS, NOT_OK, REVIEW, Flags, View

#: Number of labels of either truth below which a recommendation carries a warning.
FEW_LABELS = 20
DEFAULT_COST_RATIO = 20.0
_RESAMPLES = 2_000
#: Maximum share of errors among the good or the defective parts; no factory runs a line that errs more often.
_HALF = 0.5
_GRID = 256
_MAX_ROWS = 100


def recommend(view: View, labels: Labelled, cost_ratio: float = DEFAULT_COST_RATIO) -> Recommendation:
    """Return the threshold with the least ``cost_ratio * escapes + overkill``; the one in use if no other is cheaper.

    Parameters
    ----------
    cost_ratio
        Number of overkills that cost as much as one escape.
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
    threshold_errors, saving_errors = _bootstrap(labels, threshold, present, cost_ratio)
    off = float(np.quantile(np.abs(threshold_errors), 0.95))
    parts = float(labels.weight.sum())
    saving_on_stretch = present_cost - float(cost[at])
    optimism = float(saving_errors.mean())
    expected = 1000 * (saving_on_stretch - optimism) / parts
    spread = 1000 * float(np.quantile(np.abs(saving_errors - optimism), 0.95)) / parts
    moves = (view.score >= threshold) != (view.verdict == NOT_OK)
    moves &= np.isfinite(view.score)
    if not is_change:
        moves[:] = False
    return Recommendation(
        threshold=float(threshold),
        cost_ratio=cost_ratio,
        low=max(0.0, float(threshold) - off),
        high=min(1.0, float(threshold) + off),
        present_threshold=present,
        escape_rate=float(points.escapes[at] / points.defective),
        overkill_rate=float(points.overkill[at] / points.good),
        present_escape_rate=present_escapes / points.defective,
        present_overkill_rate=present_overkill / points.good,
        saving_per_1000=expected if is_change else 0.0,
        saving_low=expected - spread if is_change else 0.0,
        saving_high=expected + spread if is_change else 0.0,
        saving_on_stretch=saving_on_stretch if is_change else 0.0,
        is_change=is_change,
        moved=_moved(view, moves),
        rows=tuple(int(row) for row in view.rows[moves][:_MAX_ROWS]),
        warnings=_warnings(
            view, good, bad, threshold, points.escapes[at] / points.defective, points.overkill[at] / points.good
        ),
        ignores_review=bool((view.action == REVIEW).any()),
    )


def threshold_in_use(view: View) -> float | None:
    """Return the threshold of all rows; None if there are several thresholds, or no threshold."""
    found = np.unique(view.threshold[np.isfinite(view.threshold)])
    return float(found[0]) if len(found) == 1 else None


def plain(low: float, high: float) -> float:
    """Return the number above ``low``, up to ``high``, that has the fewest digits and lies near the middle.

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


def _bootstrap(labels: Labelled, best: float, present: float | None, cost_ratio: float) -> tuple[Floats, Floats]:
    """Return errors of 2,000 resamples: of the best threshold, and of its saving (in overkills), seen minus true."""
    thresholds = _grid(labels.score, [mark for mark in (best, present) if mark is not None])
    # The thresholds from this one on accept the label.
    first = np.searchsorted(thresholds, labels.score, side="right")
    width = len(thresholds) + 1
    random = np.random.default_rng(0)
    strata = int(labels.stratum.max()) + 1
    parts = np.bincount(labels.stratum, labels.weight, strata)
    drawn_parts = random.multinomial(round(parts.sum()), parts / parts.sum(), _RESAMPLES)
    # Row 0 is the population from which the resamples are drawn.
    bad, good = np.zeros((_RESAMPLES + 1, width)), np.zeros((_RESAMPLES + 1, width))
    present_cost = np.zeros(_RESAMPLES + 1)
    for stratum in range(strata):
        here = labels.stratum == stratum
        shares = _smoothed(first[here], labels.score[here], labels.is_defective[here], labels.rejects[here], thresholds)
        drawn = random.multinomial(int(here.sum()), shares.ravel(), _RESAMPLES)
        scaled = drawn * (drawn_parts[:, stratum] / here.sum())[:, None]
        weighted = np.concatenate([parts[stratum] * shares.ravel()[None], scaled]).reshape(-1, 2, 2, width)
        good += weighted[:, 0].sum(axis=1)
        bad += weighted[:, 1].sum(axis=1)
        present_cost += cost_ratio * weighted[:, 1, 0].sum(axis=1) + weighted[:, 0, 1].sum(axis=1)
    costs = cost_ratio * np.cumsum(bad, axis=1)[:, :-1] + good.sum(axis=1)[:, None] - np.cumsum(good, axis=1)[:, :-1]
    lowest = costs.min(axis=1, keepdims=True)
    # Of equally cheap thresholds, choose the one nearest to the recommended threshold.
    chosen = np.where(costs <= lowest + 1e-9 * (1 + lowest), np.abs(thresholds - best), np.inf).argmin(axis=1)
    seen = present_cost[1:] - costs[1:][np.arange(_RESAMPLES), chosen[1:]]
    real = present_cost[0] - costs[0][chosen[1:]]
    return thresholds[chosen[1:]] - thresholds[chosen[0]], seen - real


def _grid(scores: Floats, marks: list[float]) -> Floats:
    ends = scores[[0, -1]]
    even = np.linspace(float(ends[0]), float(ends[1]), _GRID // 4)
    ranked = np.quantile(scores, np.linspace(0, 1, _GRID - _GRID // 4))
    return np.unique(np.concatenate([even, ranked, marks, [np.nextafter(ends[1], np.inf)]]))


def _smoothed(first: Integers, score: Floats, is_defective: Flags, rejects: Flags, thresholds: Floats) -> Floats:
    """Return shares of a stratum's parts by truth, by action of the threshold in use, and by place between thresholds.

    Each label represents similar scores: a Gaussian kernel of Silverman's width, within the scores of the stratum.
    """
    width = len(thresholds) + 1
    inner = (thresholds[1:] + thresholds[:-1]) / 2
    centres = np.concatenate([[thresholds[0]], inner, [thresholds[-1]]])
    found = np.zeros((2, 2, width))
    places = np.arange(width)
    for truth in (0, 1):
        of_truth = is_defective == bool(truth)
        for rejected in (0, 1):
            here = of_truth & (rejects == bool(rejected))
            if not here.any():
                continue
            counts = np.bincount(first[here], minlength=width)
            at = np.flatnonzero(counts)
            values = score[here] if here.sum() > 1 else score
            bandwidth = 0.9 * float(np.std(values)) * here.sum() ** -0.2
            alike = rejects == bool(rejected)
            within = (places >= first[alike].min()) & (places <= first[alike].max())
            if bandwidth <= 0:
                found[truth, rejected] = counts
                continue
            kernel = np.exp(-0.5 * ((centres[None, :] - centres[at, None]) / bandwidth) ** 2) * _widths(thresholds)
            kernel = np.where(within, kernel, 0.0)
            total = kernel.sum(axis=1, keepdims=True)
            kernel = np.divide(kernel, total, out=np.eye(width)[at], where=total > 0)
            found[truth, rejected] = counts[at] @ kernel
    shares: Floats = found / found.sum()
    return shares


def _widths(thresholds: Floats) -> Floats:
    gaps = np.diff(thresholds)
    return np.concatenate([[gaps.min()], gaps, [gaps.min()]])


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


def _warnings(
    view: View, good: int, bad: int, threshold: float, escape_rate: float, overkill_rate: float
) -> tuple[str, ...]:
    found = []
    rejected = int((view.score >= threshold).sum())
    if rejected in (0, int(np.isfinite(view.score).sum())):
        what = "rejects every part" if rejected else "accepts every part"
        found.append(
            f"the cheapest threshold {what}: for this cost ratio the scores hardly tell good from defective parts"
        )
    elif max(escape_rate, overkill_rate) > _HALF:
        what = "rejects most good parts" if overkill_rate > _HALF else "accepts most defective parts"
        found.append(
            f"the cheapest threshold {what}: check --cost-ratio; if it is right, the scores hardly tell good from "
            "defective parts"
        )
    for count, what in ((bad, "defective"), (good, "good")):
        if count < FEW_LABELS:
            found.append(f"the threshold rests on labels of {count} {what} parts: {FEW_LABELS} are few")
    reviewed = int((view.action == REVIEW).sum())
    if reviewed:
        found.append(
            f"{reviewed} parts went to review, where a person decides: the threshold and the saving are computed from "
            "the scores alone, and the saving is less if the person is right"
        )
    if threshold_in_use(view) is None:
        found.append("several thresholds were in use: the saving is against what each part's own did")
    return tuple(found)
