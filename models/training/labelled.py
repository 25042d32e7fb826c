"""Learning from defective parts: a logistic head on features of the whole image, stacked with the score of the map.

The head knows the defects that it has learned; the map finds what no good part has. Stacking: D. H. Wolpert, Neural
Networks 5, 1992, with weights that are not negative (L. Breiman, Machine Learning 24, 1996). All figures are of images
that neither the head, nor the stack, nor the threshold has seen. (The out-of-fold values that the three numbers of the
stack are fitted to come from heads that have seen the tested images.)

Of an image that is cut into tiles, only the truth of the whole is known. This is multiple-instance learning: all tiles
of a good part are good, and the most suspicious tile of a defective part is taken for defective (S. Andrews et al.,
"Support Vector Machines for Multiple-Instance Learning", NIPS 2002). That is first the one with the highest score of
the map, and then the one with the highest logit of a head that has not seen the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.training.auroc import auroc, auroc_interval
from models.training.graphs import Head
from models.training.labelled_tiles import LabelledImages, LabelledTiles
from models.training.limits import conformal_limit, rejected
from models.training.logistic import fit_logistic
from models.wilson import wilson

_Scores = NDArray[np.float64]

#: Fewest defective parts to learn from; fewer are a test.
FEWEST_DEFECTS = 10
#: Strength of the head's data against its penalty, and that of the stack.
_HEAD_C, _STACK_C = 3e-3, 1.0
#: Times that the tiles of defective parts are chosen.
_CHOICES = 2
#: Tiles whose features are converted to float64 at the same time.
_AT_ONCE = 2500


@dataclass(frozen=True, slots=True)
class LabelledFigures:
    """Figures of a model on labelled images that it has not learned from.

    Parameters
    ----------
    auroc, auroc_bounds
        Area under the ROC curve, and its 95 % interval.
    escapes, overkill
        Accepted of all defective parts, rejected of all good parts.
    kinds
        For each kind of defect: AUROC, accepted parts, all parts.
    """

    auroc: float
    auroc_bounds: tuple[float, float]
    escapes: tuple[int, int]
    overkill: tuple[int, int]
    kinds: dict[str, tuple[float, int, int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        good: _Scores,
        defective: _Scores,
        kinds: Sequence[str],
        limit: _Scores | float,
        good_limit: _Scores | float,
    ) -> LabelledFigures:
        """Compute the figures of scores; a part is rejected from its limit on.

        Parameters
        ----------
        kinds
            Kind of each defective part.
        limit, good_limit
            Limit of the defective and of the good parts: one for all, or one for each.
        """
        missed, names = ~rejected(defective, limit), np.array(kinds)
        by_kind = {
            kind: (_area(good, defective[names == kind]), int(missed[names == kind].sum()), int((names == kind).sum()))
            for kind in sorted(set(kinds))
        }
        return cls(
            _area(good, defective),
            auroc_interval(good, defective),
            (int(missed.sum()), len(defective)),
            (int(rejected(good, good_limit).sum()), len(good)),
            by_kind,
        )

    def with_rejected(self, good: int) -> LabelledFigures:
        """Return the figures with further good parts, which are rejected without a score."""
        return replace(self, overkill=(self.overkill[0] + good, self.overkill[1] + good))

    def as_json(self) -> dict[str, object]:
        """Return the figures with their 95 % intervals, for the manifest."""
        return {
            "auroc": _rounded(self.auroc, *self.auroc_bounds),
            "escapes": _rounded(self.escapes[0] / self.escapes[1], *wilson(*self.escapes)),
            "overkill": _rounded(self.overkill[0] / self.overkill[1], *wilson(*self.overkill)),
            "kinds": {
                kind: {"auroc": round(area, 4), "escapes": missed, "images": count}
                for kind, (area, missed, count) in self.kinds.items()
            },
        }


@dataclass(frozen=True, slots=True)
class HeadFit:
    """Fitted head, with the logits of the training images by models that have not seen them.

    A logit of 0, a score of 1/2, is the threshold.
    """

    head: Head
    good_logits: _Scores
    defect_logits: _Scores
    figures: LabelledFigures


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs that the threshold follows.

    Parameters
    ----------
    escape_weight
        Cost of accepting all defective parts over that of rejecting all good parts, see `cheapest_limit`.
    overkill
        Share of good parts that may be rejected anyway: there may be kinds of defects that were not shown.
    """

    escape_weight: float
    overkill: float

    def limit(self, good: _Scores, defective: _Scores) -> float:
        """Return the limit with the least cost, or the one with the allowed overkill if that is lower.

        Examples
        --------
        >>> good, defective = np.arange(100.0), np.array([150.0, 160.0])
        >>> round(Costs(1.0, 0.005).limit(good, defective), 1), round(Costs(1.0, 0.05).limit(good, defective), 1)
        (99.0, 95.0)
        """
        return min(cheapest_limit(good, defective, self.escape_weight), conformal_limit(good, self.overkill))

    def of(self, figures: LabelledFigures) -> float:
        """Return the costs of a model at its threshold; the allowed overkill is free.

        Examples
        --------
        >>> figures = LabelledFigures(0.9, (0.8, 1.0), escapes=(5, 50), overkill=(4, 100))
        >>> round(Costs(1.0, 0.02).of(figures), 2), round(Costs(1.0, 0.05).of(figures), 2)
        (0.12, 0.1)
        """
        (missed, defective), (rejected_parts, good) = figures.escapes, figures.overkill
        return self.escape_weight * missed / defective + max(0.0, rejected_parts / good - self.overkill)


def fit_head(good: LabelledImages, defective: LabelledImages, kinds: Sequence[str], costs: Costs) -> HeadFit:
    """Fit the head and its threshold.

    Parameters
    ----------
    kinds
        Kind of each defective image.
    """
    tiles = LabelledTiles.of(good, defective)
    is_defective, good_tiles = tiles.is_defective, tiles.good_to_learn()
    worst_good = tiles.worst(tiles.map_scores)[~is_defective]
    middle = float(np.median(worst_good))
    spread = max(float(np.subtract(*np.percentile(worst_good, [90, 10]))), 1e-9)
    normalised = (tiles.map_scores - middle) / spread

    chosen = tiles.most_suspicious(normalised)
    for _ in range(_CHOICES if len(chosen) < len(normalised) else 1):
        learned = np.concatenate([good_tiles, chosen[is_defective]])
        features = np.stack([_head_out_of_fold(tiles, learned), normalised], axis=1)
        of_tiles, limits = _stack_out_of_fold(tiles, features, chosen, costs)
        chosen = tiles.most_suspicious(of_tiles)
    logits = of_tiles[chosen]
    figures = LabelledFigures.of(
        logits[~is_defective], logits[is_defective], kinds, limits[is_defective], limits[~is_defective]
    )

    image = _fit_tiles(tiles, np.concatenate([good_tiles, chosen[is_defective]]))
    stack, offset = fit_logistic(features[chosen], is_defective, _STACK_C, is_monotonic=True)
    limit = costs.limit(logits[~is_defective], logits[is_defective])
    head = replace(
        image,
        weights=stack[0] * image.weights,
        map_weight=float(stack[1] / spread),
        bias=float(stack[0] * image.bias + offset - stack[1] * middle / spread - limit),
    )
    logits = logits - limit
    return HeadFit(head, logits[~is_defective], logits[is_defective], figures)


def cheapest_limit(good: _Scores, defective: _Scores, escape_weight: float) -> float:
    """Return the limit with the least ``escape_weight * (share of escapes) + (share of overkill)``.

    It is the lowest of equally cheap ones, and lies a tenth of the way from a score to the next one: in the middle of a
    wide gap, kinds of defects that were not shown, and look less unusual, would be accepted.

    Examples
    --------
    >>> cheapest_limit(np.array([1.0, 2.0, 3.0]), np.array([7.0, 8.0]), 1.0)
    3.4
    """
    scores = np.unique(np.concatenate([good, defective]))
    limits = np.concatenate([[scores[0] - 1], scores[:-1] + np.diff(scores) / 10, [scores[-1] + 1]])
    escapes = np.searchsorted(np.sort(defective), limits, "left") / len(defective)
    overkill = 1 - np.searchsorted(np.sort(good), limits, "left") / len(good)
    costs = escape_weight * escapes + overkill
    return float(limits[np.argmin(costs)])


def _head_out_of_fold(tiles: LabelledTiles, learned: NDArray[np.int64]) -> _Scores:
    """Return the logit of each tile by a head that has not seen the fold of its image.

    Parameters
    ----------
    learned
        Tiles that heads are fitted to.
    """
    logits, folds = np.empty(len(tiles.owners)), tiles.folds[tiles.owners]
    for fold in np.unique(folds):
        head = _fit_tiles(tiles, learned[folds[learned] != fold])
        mine = np.flatnonzero(folds == fold)
        for part in np.array_split(mine, 1 + len(mine) // _AT_ONCE):
            logits[part] = head.standardised(tiles.pooled[part].astype(np.float64)) @ head.weights + head.bias
    return logits


def _stack_out_of_fold(
    tiles: LabelledTiles, features: _Scores, chosen: NDArray[np.int64], costs: Costs
) -> tuple[_Scores, _Scores]:
    """Return the stacked logit of each tile, and the limit for each image, by stacks that have not seen its fold.

    Parameters
    ----------
    features
        ``(tiles, 2)``: logit of the head, and normalised score of the map.
    chosen
        Tile of each image that stands for it.
    """
    logits, limits = np.empty(len(features)), np.empty(len(tiles.folds))
    for fold in np.unique(tiles.folds):
        mine = tiles.folds == fold
        stack, offset = fit_logistic(features[chosen[~mine]], tiles.is_defective[~mine], _STACK_C, is_monotonic=True)
        every = features @ stack + offset
        of_tiles = mine[tiles.owners]
        logits[of_tiles] = every[of_tiles]
        others, is_defective = tiles.worst(every)[~mine], tiles.is_defective[~mine]
        limits[mine] = costs.limit(others[~is_defective], others[is_defective])
    return logits, limits


def _fit_tiles(tiles: LabelledTiles, learned: NDArray[np.int64]) -> Head:
    """Return the head of the features of some tiles, without the map."""
    pooled = tiles.pooled[learned].astype(np.float64)
    is_defective = tiles.is_defective[tiles.owners[learned]]
    mean, deviation = pooled.mean(axis=0), pooled.std(axis=0)
    # A feature that does not vary says nothing.
    varies = deviation > 1e-6 * max(1.0, float(np.abs(mean).max()))
    scale = np.where(varies, 1 / np.maximum(deviation, 1e-12), 0.0)
    head = Head(mean, scale, np.zeros_like(mean), 0.0, 0.0)
    weights, bias = fit_logistic(head.standardised(pooled), is_defective, _HEAD_C)
    return replace(head, weights=weights, bias=bias)


def _area(good: _Scores, defective: _Scores) -> float:
    return auroc([*good, *defective], [False] * len(good) + [True] * len(defective))


def _rounded(value: float, low: float, high: float) -> list[float]:
    return [round(value, 4), round(low, 4), round(high, 4)]
