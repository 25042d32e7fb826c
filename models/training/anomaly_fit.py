"""Fit of one anomaly recipe: scores of good images by models that have not seen their block, and the self-test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.frame_pixels import FramePixels
from models.regions import inspected_tiles
from models.training.auroc import auroc
from models.training.blocks import conformal_limit, out_of_block, random_blocks
from models.training.features import FeatureExtractor, in_threads
from models.training.graphs import Recipe
from models.training.padim import Moments
from models.training.synthetic import KINDS, SIZES, DefectKind, add_defect

#: Percentile of the map that is the score of an image: a maximum that one noisy place does not move.
PERCENTILE = 99.0


def scores_of(distances: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the score of each image, of distances ``(n, places)``."""
    return np.asarray(np.percentile(distances, PERCENTILE, axis=1), np.float64)


@dataclass(frozen=True, slots=True)
class SyntheticResult:
    """Share of synthetic defects of one kind and size that a model finds, and the AUROC against good images."""

    kind: DefectKind
    size: float
    found: float
    auroc: float


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
    """

    def __init__(
        self,
        recipe: Recipe,
        patches: NDArray[np.float16],
        blocks: NDArray[np.int64],
        overkill: float,
        owners: NDArray[np.int64] | None = None,
    ) -> None:
        self.recipe = recipe
        self._owners = np.arange(len(patches)) if owners is None else owners
        self._image_blocks, self._overkill, self._is_sample = blocks, overkill, False
        blocks = blocks[self._owners]
        self._patches = patches
        self._sums = {block: self._moments(patches[blocks == block]) for block in np.unique(blocks)}
        total = None
        for sums in self._sums.values():
            total = sums if total is None else total + sums
        assert total is not None
        self._total = total
        self._without = {block: (total - sums).gaussians() for block, sums in self._sums.items()}
        self.gaussians = total.gaussians()
        self.scores = self._worst(
            out_of_block(blocks, lambda mask: scores_of(self._without[blocks[mask][0]].distances(patches[mask])))
        )
        self.limit = conformal_limit(self.scores, overkill)

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
            model = self._without[self._image_blocks[index]]
            return index, float(scores_of(model.distances(extractor.features(image))).max())

        for index, found in in_threads(score, images, threads):
            self.scores[index] = found
        self.limit, self._is_sample = conformal_limit(self.scores, self._overkill), True

    def score(self, patches: NDArray[np.float16]) -> float:
        """Return the score of an image that was not fitted: the mean over the models that `scores` comes from."""
        return float(np.mean([scores_of(model.distances(patches)).max() for model in self._without.values()]))

    def unseen_maps(self, index: int, patches: NDArray[np.float16] | None = None) -> NDArray[np.float32]:
        """Return the maps of distances ``(tiles, grid, grid)`` of a fitted image, by the model that scored it.

        Parameters
        ----------
        patches
            Features of all tiles; None: those that were fitted.
        """
        patches = self._patches[self._owners == index] if patches is None else patches
        distances = self._without[self._image_blocks[index]].distances(patches)
        return distances.reshape(-1, self.recipe.grid, self.recipe.grid)

    def random_scores(self) -> NDArray[np.float64]:
        """Return the scores by models of random folds, which have seen neighbours of the images.

        They compare with `score`: defective parts are of lots that the models have seen.
        """
        if self._is_sample:
            return self.scores
        blocks = random_blocks(len(self._image_blocks))[self._owners]

        def score(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
            model = (self._total - self._moments(self._patches[mask])).gaussians()
            return scores_of(model.distances(self._patches[mask]))

        return self._worst(out_of_block(blocks, score))

    def self_test(
        self, extractor: FeatureExtractor, images: Iterable[tuple[int, FramePixels]], *, threads: int, seed: int = 0
    ) -> list[SyntheticResult]:
        """Add synthetic defects to good images, and score them by the model that has not seen their block.

        Parameters
        ----------
        images
            Index of each image among the fitted ones, and its pixels.
        """
        cases = [(kind, size) for kind in KINDS for size in SIZES]

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
                found = scores_of(model.distances(extractor.features(made, changed))) if changed else np.empty(0)
                if len(changed) < len(tiles):
                    good = scores_of(model.distances(extractor.features(image))) if good is None else good
                    found = np.concatenate([found, np.delete(good, changed)])
                worst.append(float(found.max()))
            return worst

        found = dict(zip(cases, zip(*in_threads(scores, images, threads), strict=True), strict=True))
        return [
            SyntheticResult(kind, size, float(np.mean(np.array(scores) > self.limit)), _auroc(self.scores, scores))
            for (kind, size), scores in found.items()
        ]

    def _moments(self, patches: NDArray[np.float16]) -> Moments:
        return Moments.of(patches, is_alike=self.recipe.is_alike)


def _auroc(good: NDArray[np.float64], defective: Sequence[float]) -> float:
    return auroc([*good, *defective], [False] * len(good) + [True] * len(defective))
