"""Learning from defective parts: a logistic head on features of the whole image, stacked with the score of the map.

The head knows the defects that it has learned; the map finds what no good part has. Stacking: D. H. Wolpert, Neural
Networks 5, 1992, with weights that are not negative (L. Breiman, Machine Learning 24, 1996). All figures are of images
that neither the head, nor the stack, nor the threshold has seen. (The out-of-fold values that the three numbers of the
stack are fitted to come from heads that have seen the tested images.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.training.auroc import auroc, auroc_interval
from models.training.graphs import Head
from models.training.logistic import fit_logistic
from models.wilson import wilson

_Scores = NDArray[np.float64]

#: Fewest defective parts to learn from; fewer are a test.
FEWEST_DEFECTS = 10
#: Strength of the head's data against its penalty, and that of the stack.
_HEAD_C, _STACK_C = 3e-3, 1.0


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
        missed, names = defective < limit, np.array(kinds)
        by_kind = {
            kind: (_area(good, defective[names == kind]), int(missed[names == kind].sum()), int((names == kind).sum()))
            for kind in sorted(set(kinds))
        }
        return cls(
            _area(good, defective),
            auroc_interval(good, defective),
            (int(missed.sum()), len(defective)),
            (int((good >= good_limit).sum()), len(good)),
            by_kind,
        )

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
class LabelledImages:
    """Images of one truth, in the order of their names.

    Parameters
    ----------
    pooled
        ``(n, features)``: features of the whole image, see `models.training.graphs.pooled_graph`.
    map_scores
        ``(n,)``: score of the map, by a model that has not seen the image.
    folds
        ``(n,)``: fold of each image.
    """

    pooled: NDArray[np.float32]
    map_scores: _Scores
    folds: NDArray[np.int64]


def fit_head(good: LabelledImages, defective: LabelledImages, kinds: Sequence[str], escape_weight: float) -> HeadFit:
    """Fit the head and its threshold.

    Parameters
    ----------
    kinds
        Kind of each defective image.
    escape_weight
        Cost of accepting all defective parts over that of rejecting all good parts, see `cheapest_limit`.
    """
    pooled = np.concatenate([good.pooled, defective.pooled]).astype(np.float64)
    scores = np.concatenate([good.map_scores, defective.map_scores])
    folds = np.concatenate([good.folds, defective.folds])
    is_defective = np.arange(len(folds)) >= len(good.folds)
    middle = float(np.median(good.map_scores))
    spread = max(float(np.subtract(*np.percentile(good.map_scores, [90, 10]))), 1e-9)
    normalised = (scores - middle) / spread

    from_image = np.empty(len(folds))
    for fold in np.unique(folds):
        mine = folds == fold
        part = _fit_image(pooled[~mine], is_defective[~mine])
        from_image[mine] = part.standardised(pooled[mine]) @ part.weights + part.bias
    features = np.stack([from_image, normalised], axis=1)
    logits, limits = np.empty(len(folds)), np.empty(len(folds))
    for fold in np.unique(folds):
        mine = folds == fold
        stack, offset = fit_logistic(features[~mine], is_defective[~mine], _STACK_C, is_monotonic=True)
        every = features @ stack + offset
        logits[mine] = every[mine]
        others = every[~mine]
        limits[mine] = cheapest_limit(others[~is_defective[~mine]], others[is_defective[~mine]], escape_weight)
    figures = LabelledFigures.of(
        logits[~is_defective], logits[is_defective], kinds, limits[is_defective], limits[~is_defective]
    )

    image = _fit_image(pooled, is_defective)
    stack, offset = fit_logistic(features, is_defective, _STACK_C, is_monotonic=True)
    limit = cheapest_limit(logits[~is_defective], logits[is_defective], escape_weight)
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

    It lies in the middle between two scores; among equally cheap ones it is in the widest gap.

    Examples
    --------
    >>> cheapest_limit(np.array([1.0, 2.0, 3.0]), np.array([7.0, 8.0]), 1.0)
    5.0
    """
    scores = np.unique(np.concatenate([good, defective]))
    limits = np.concatenate([[scores[0] - 1], (scores[1:] + scores[:-1]) / 2, [scores[-1] + 1]])
    gaps = np.concatenate([[0], np.diff(scores), [0]])
    escapes = np.searchsorted(np.sort(defective), limits, "left") / len(defective)
    overkill = 1 - np.searchsorted(np.sort(good), limits, "left") / len(good)
    costs = escape_weight * escapes + overkill
    return float(limits[np.lexsort((-gaps, costs))[0]])


def _fit_image(pooled: _Scores, is_defective: NDArray[np.bool_]) -> Head:
    """Return the head of the features of the whole image alone."""
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
