"""Fit of one anomaly recipe: scores of good images by models that have not seen their block, and the self-test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from models.frame_pixels import FramePixels
from models.regions import inspected_tiles
from models.training.auroc import auroc
from models.training.blocks import out_of_block, random_blocks
from models.training.features import FeatureExtractor, in_threads
from models.training.limits import conformal_limit, rejected
from models.training.padim import Moments
from models.training.products import GoodParts, Scale, scores_of
from models.training.recipe import Recipe
from models.training.synthetic import KINDS, SIZES, DefectKind, add_defect

#: Decimal places of the distances in the manifest.
_DIGITS = 6
#: Tiles whose moments are summed at once: a selection of the patches is a copy.
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class SyntheticResult:
    """Share of synthetic defects of one kind and size that a model finds, and the AUROC against good images."""

    kind: DefectKind
    size: float
    found: float
    auroc: float


@dataclass(frozen=True, slots=True)
class _Fitted:
    """Model of all images, those without each block, the scores of the images by the latter, and the limit."""

    width: int
    model: GoodParts
    without: dict[int, GoodParts]
    scores: NDArray[np.float64]
    limit: float

    @property
    def sensitivity(self) -> float:
        return float(np.mean([gaussians.sensitivity(self.limit) for gaussians in self.model.products]))


class AnomalyFit:
    """One recipe, fitted to the features of good images.

    Parameters
    ----------
    recipe
        Recipe of the features.
    patches
        ``(n, places, channels)`` float16.
    blocks
        Block of each image, see `models.training.blocks`.
    overkill
        Share of good parts that may be rejected.
    owners
        Number of the image of each of the patches, which are its tiles; None: there are no tiles.
    products
        Number of the product of each image, from 0; without it all are of one product.
    shown
        Places that each of the patches shows, ``(n, places)``; None: all of them.
    """

    def __init__(
        self,
        recipe: Recipe,
        patches: NDArray[np.float16],
        blocks: NDArray[np.int64],
        overkill: float,
        owners: NDArray[np.int64] | None = None,
        products: NDArray[np.int64] | None = None,
        shown: NDArray[np.bool_] | None = None,
    ) -> None:
        self.recipe = recipe
        self._owners = np.arange(len(patches)) if owners is None else owners
        self._image_blocks, self._overkill, self._is_sample = blocks, overkill, False
        self._patches, self._blocks, self._shown = patches, blocks[self._owners], shown
        product = np.zeros(len(patches), np.int64) if products is None else products[self._owners]
        self._rows = [np.flatnonzero(product == number) for number in range(product.max() + 1)]
        self._totals = [self._moments(rows) for rows in self._rows]
        self._scales = tuple(Scale() for _ in self._rows)
        if len(self._rows) > 1:
            self._scales = tuple(
                self._scale_of(rows, total) for rows, total in zip(self._rows, self._totals, strict=True)
            )
        best = self._fit(recipe.widths[0])
        for width in recipe.widths[1:]:
            best = max(best, self._fit(width), key=lambda fitted: fitted.sensitivity)
        self.width, self.model, self._without = best.width, best.model, best.without
        self.scores, self._least_limit = best.scores, best.limit

    def _fit(self, width: int) -> _Fitted:
        without = {int(block): self._model(self._blocks == block, width) for block in np.unique(self._blocks)}

        def score(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
            return self._scores_of(without[self._blocks[mask][0]].distances(self._patches[mask]))

        scores = self._worst(out_of_block(self._blocks, score))
        model = self._model(np.zeros(len(self._patches), bool), width)
        return _Fitted(width, model, without, scores, conformal_limit(scores, self._overkill))

    def _scores_of(self, distances: NDArray[np.floating]) -> NDArray[np.float64]:
        return scores_of(distances, self.recipe.percentile)

    def _worst(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the score of each image: that of its worst tile."""
        worst = np.full(len(self._image_blocks), -np.inf)
        np.maximum.at(worst, self._owners, scores)
        return worst

    def score_all_tiles(
        self, extractor: FeatureExtractor, images: Iterable[tuple[int, FramePixels]], *, threads: int
    ) -> None:
        """Score the fitted images again, by all of their tiles: the patches are a sample of them.

        Parameters
        ----------
        images
            Index of each image among the fitted ones, and its pixels.
        """

        def score(numbered: tuple[int, FramePixels]) -> tuple[int, float]:
            index, image = numbered
            return index, float(self.unseen_score(index, extractor.features(image)).max())

        for index, found in in_threads(score, images, threads):
            self.scores[index] = found
        self._least_limit, self._is_sample = conformal_limit(self.scores, self._overkill), True

    @property
    def map_range(self) -> tuple[float, float]:
        """Distances that are 0 and 1: the good image with the smallest score is at 0, the limit is at 1/2."""
        low = round(min(float(np.min(self.scores)), 0.999 * self._least_limit), _DIGITS)
        # Upwards, because a lower limit would reject the image below it.
        return low, math.ceil((2 * self._least_limit - low) * 10**_DIGITS) / 10**_DIGITS

    @property
    def limit(self) -> float:
        """Distance from which a part is rejected: 1/2 on the scale of `map_range`, which is rounded."""
        low, high = self.map_range
        return (low + high) / 2

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """Mask of the fitted images that the rule of the package rejects, by their scores."""
        return rejected(self.scores, self.limit)

    def score(self, patches: NDArray[np.float16]) -> NDArray[np.float64]:
        """Return the score of each tile of an image that was not fitted: the mean over the models of `scores`."""
        scores = [self._scores_of(model.distances(patches)) for model in self._without.values()]
        return np.asarray(np.mean(scores, axis=0))

    def unseen_score(self, index: int, patches: NDArray[np.float16]) -> NDArray[np.float64]:
        """Return the score of each tile of a fitted image, by the model that scored it."""
        return self._scores_of(self._without[self._image_blocks[index]].distances(patches))

    def unseen_maps(self, index: int, patches: NDArray[np.float16] | None = None) -> NDArray[np.float32]:
        """Return the maps of distances ``(tiles, cells, cells)`` of a fitted image, by the model that scored it.

        Parameters
        ----------
        patches
            Features of all tiles; None: those that were fitted.
        """
        patches = self._patches[self._owners == index] if patches is None else patches
        distances = self._without[self._image_blocks[index]].distances(patches)
        return distances.reshape(-1, self.recipe.cells, self.recipe.cells)

    def random_scores(self) -> list[NDArray[np.float64]] | None:
        """Return the scores of the tiles of each image by models of random folds, which have seen its neighbours.

        They compare with `score`: defective parts are of lots that the models have seen. None if not all tiles of the
        images were learned from.
        """
        if self._is_sample:
            return None
        blocks = random_blocks(len(self._image_blocks))[self._owners]

        def score(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
            return self._scores_of(self._model(mask, self.width).distances(self._patches[mask]))

        return np.split(out_of_block(blocks, score), np.flatnonzero(np.diff(self._owners)) + 1)

    def self_test(
        self,
        extractor: FeatureExtractor,
        images: Iterable[tuple[int, FramePixels]],
        *,
        threads: int,
        seed: int = 0,
        sizes: Sequence[float] = SIZES,
    ) -> list[SyntheticResult]:
        """Add synthetic defects to good images, and score them by the model that has not seen their block.

        Parameters
        ----------
        images
            Index of each image among the fitted ones, and its pixels.
        """
        cases = [(kind, size) for kind in KINDS for size in sizes]

        def scores(numbered: tuple[int, FramePixels]) -> list[float]:
            index, image = numbered
            rng, model = np.random.default_rng((seed, index)), self._without[self._image_blocks[index]]
            spec = extractor.spec
            tiles = inspected_tiles(image.region, spec)
            good: NDArray[np.float64] | None = None
            worst = []
            for kind, size in cases:
                made = image.with_pixels(add_defect(image.pixels, kind, size, rng), spec)
                changed = [
                    number for number, tile in enumerate(tiles)
                    if not np.array_equal(image.tile(tile, spec).tensor, made.tile(tile, spec).tensor)
                ]  # fmt: skip
                found = self._scores_of(model.distances(extractor.features(made, changed))) if changed else np.empty(0)
                if len(changed) < len(tiles):
                    good = self._scores_of(model.distances(extractor.features(image))) if good is None else good
                    found = np.concatenate([found, np.delete(good, changed)])
                worst.append(float(found.max()))
            return worst

        found = dict(zip(cases, zip(*in_threads(scores, images, threads), strict=True), strict=True))
        return [
            SyntheticResult(
                kind, size, float(rejected(np.array(scores), self.limit).mean()), _auroc(self.scores, scores)
            )
            for (kind, size), scores in found.items()
        ]

    def _model(self, left_out: NDArray[np.bool_], width: int) -> GoodParts:
        """Return the model of all tiles but some, with covariances averaged over squares of a width."""
        products = []
        for rows, total in zip(self._rows, self._totals, strict=True):
            mine = rows[left_out[rows]]
            products.append(
                (total - self._moments(mine) if len(mine) else total).gaussians(self.recipe.least_deviation, width)
            )
        return GoodParts(tuple(products), self._scales, self.recipe.pool)

    def _scale_of(self, rows: NDArray[np.int64], total: Moments) -> Scale:
        """Return the scale of a product: of the scores of its tiles by its own model without their block."""

        def score(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
            return self._scores_of((total - self._moments(rows[mask])).gaussians().distances(self._patches[rows[mask]]))

        return Scale.of(out_of_block(self._blocks[rows], score))

    def _moments(self, rows: NDArray[np.int64]) -> Moments:
        """Return the moments of some of the patches."""
        chunks = (rows[begin : begin + _CHUNK] for begin in range(0, len(rows), _CHUNK))
        moments = (
            Moments.of(
                self._patches[each],
                is_alike=self.recipe.is_alike,
                shown=None if self._shown is None else self._shown[each],
            )
            for each in chunks
        )
        return reduce(add, moments)


def _auroc(good: NDArray[np.float64], defective: Sequence[float]) -> float:
    return auroc([*good, *defective], [False] * len(good) + [True] * len(defective))
