"""Learning from defective parts: a logistic head on features of the whole image, stacked with the score of the map.

The head knows the defects that it has learned; the map finds what no good part has. Stacking: D. H. Wolpert, Neural
Networks 5, 1992, with weights that are not negative (L. Breiman, Machine Learning 24, 1996). All figures are of images
that neither the head, nor the stack, nor the threshold has seen. (The out-of-fold values that the three numbers of the
stack are fitted to come from heads that have seen the tested images.)

A stack that has seen no defect which the map finds gives the map no weight. So a part that the map alone rejects, at
the limit of the model of good parts, is rejected whatever the stack says: it may have a kind of defect that was not
shown.

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
#: Logit of the map alone for each spread of the scores of good parts above its limit. It is steep, so that the stack
#: tells apart the parts below the limit.
_ALONE_SLOPE = 4.0
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


def fit_head(
    good: LabelledImages, defective: LabelledImages, kinds: Sequence[str], costs: Costs, map_limit: float
) -> HeadFit:
    """Fit the head and its threshold.

    Parameters
    ----------
    kinds
        Kind of each defective image.
    map_limit
        Score of the map from which the model of good parts rejects.
    """
    tiles = LabelledTiles.of(good, defective)
    is_defective, good_tiles = tiles.is_defective, tiles.good_to_learn()
    worst_good = tiles.worst(tiles.map_scores)[~is_defective]
    middle = float(np.median(worst_good))
    spread = max(float(np.subtract(*np.percentile(worst_good, [90, 10]))), 1e-9)
    normalised = (tiles.map_scores - middle) / spread
    alone = _ALONE_SLOPE * (tiles.map_scores - map_limit) / spread

    chosen = tiles.most_suspicious(normalised)
    for _ in range(_CHOICES if len(chosen) < len(normalised) else 1):
        learned = np.concatenate([good_tiles, chosen[is_defective]])
        features = np.stack([_head_out_of_fold(tiles, learned), normalised], axis=1)
        stacked, unseen = _stack_out_of_fold(tiles, features, alone, chosen, costs)
        chosen = tiles.most_suspicious(unseen)
    logits = tiles.worst(unseen)
    figures = LabelledFigures.of(logits[~is_defective], logits[is_defective], kinds, 0.0, 0.0)

    image = _fit_tiles(tiles, np.concatenate([good_tiles, chosen[is_defective]]))
    stack, offset = fit_logistic(features[chosen], is_defective, _STACK_C, is_monotonic=True)
    limit = _limit(tiles.worst(stacked), tiles.worst(alone), is_defective, costs)
    head = replace(
        image,
        weights=stack[0] * image.weights,
        map_weight=float(stack[1] / spread),
        bias=float(stack[0] * image.bias + offset - stack[1] * middle / spread - limit),
        alone_weight=_ALONE_SLOPE / spread,
        alone_bias=-_ALONE_SLOPE * map_limit / spread,
    )
    logits = tiles.worst(np.maximum(stacked - limit, alone))
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
    tiles: LabelledTiles, features: _Scores, alone: _Scores, chosen: NDArray[np.int64], costs: Costs
) -> tuple[_Scores, _Scores]:
    """Return two values of each tile, by stacks that have not seen the fold of its image.

    They are the stacked logit, and the larger one of its distance to the limit and of the logit of the map alone.

    Parameters
    ----------
    features
        ``(tiles, 2)``: logit of the head, and normalised score of the map.
    alone
        Logit of the map alone.
    chosen
        Tile of each image that stands for it.
    """
    stacked, unseen, alone_of_images = np.empty(len(features)), np.empty(len(features)), tiles.worst(alone)
    for fold in np.unique(tiles.folds):
        mine = tiles.folds == fold
        stack, offset = fit_logistic(features[chosen[~mine]], tiles.is_defective[~mine], _STACK_C, is_monotonic=True)
        every = features @ stack + offset
        limit = _limit(tiles.worst(every)[~mine], alone_of_images[~mine], tiles.is_defective[~mine], costs)
        of_tiles = mine[tiles.owners]
        stacked[of_tiles] = every[of_tiles]
        unseen[of_tiles] = np.maximum(every - limit, alone)[of_tiles]
    return stacked, unseen


def _limit(stacked: _Scores, alone: _Scores, is_defective: NDArray[np.bool_], costs: Costs) -> float:
    """Return the limit of the stacked logits of images; those that the map alone rejects are above all others."""
    values = np.where(rejected(alone, 0.0), float(stacked.max()) + 1, stacked)
    return costs.limit(values[~is_defective], values[is_defective])


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
