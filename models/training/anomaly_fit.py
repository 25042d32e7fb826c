"""Fit of one anomaly recipe: scores of good images by models that have not seen their block, and the self-test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.frame_pixels import FramePixels
from models.training.auroc import auroc
from models.training.blocks import conformal_limit, out_of_block, random_blocks
from models.training.features import FeatureExtractor, in_threads
from models.training.graphs import Recipe
from models.training.padim import Moments
from models.training.read_images import digest_of
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
    """

    def __init__(
        self, recipe: Recipe, patches: NDArray[np.float16], blocks: NDArray[np.int64], overkill: float
    ) -> None:
        self.recipe = recipe
        self._patches, self._blocks = patches, blocks
        self._sums = {block: self._moments(patches[blocks == block]) for block in np.unique(blocks)}
        total = None
        for sums in self._sums.values():
            total = sums if total is None else total + sums
        assert total is not None
        self._total = total
        self._without = {block: (total - sums).gaussians() for block, sums in self._sums.items()}
        self.gaussians = total.gaussians()
        self.scores = out_of_block(
            blocks, lambda mask: scores_of(self._without[blocks[mask][0]].distances(patches[mask]))
        )
        self.limit = conformal_limit(self.scores, overkill)

    def score(self, patches: NDArray[np.float16]) -> float:
        """Return the score of an image that was not fitted: the mean over the models that `scores` comes from."""
        return float(np.mean([scores_of(model.distances(patches[None])) for model in self._without.values()]))

    def unseen_map(self, index: int) -> NDArray[np.float32]:
        """Return the map of distances ``(grid, grid)`` of a fitted image, by the model that `scores` has for it."""
        distances = self._without[self._blocks[index]].distances(self._patches[index : index + 1])
        return distances.reshape(self.recipe.grid, self.recipe.grid)

    def random_scores(self) -> NDArray[np.float64]:
        """Return the scores by models of random folds, which have seen neighbours of the images.

        They compare with `score`: defective parts are of lots that the models have seen.
        """
        blocks = random_blocks(len(self._patches))

        def score(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
            model = (self._total - self._moments(self._patches[mask])).gaussians()
            return scores_of(model.distances(self._patches[mask]))

        return out_of_block(blocks, score)

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
            rng, model = np.random.default_rng((seed, index)), self._without[self._blocks[index]]
            defective = [
                image.with_pixels(add_defect(image.pixels, kind, size, rng), extractor.spec) for kind, size in cases
            ]
            patches = np.stack([extractor.features(each) for each in defective])
            return [float(score) for score in scores_of(model.distances(patches))]

        found = dict(zip(cases, zip(*in_threads(scores, images, threads), strict=True), strict=True))
        return [
            SyntheticResult(kind, size, float(np.mean(np.array(scores) > self.limit)), _auroc(self.scores, scores))
            for (kind, size), scores in found.items()
        ]

    def digests(self) -> set[bytes]:
        """Return the digests of the features of all images."""
        return {digest_of(each) for each in self._patches}

    def _moments(self, patches: NDArray[np.float16]) -> Moments:
        return Moments.of(patches, is_alike=self.recipe.is_alike)


def _auroc(good: NDArray[np.float64], defective: Sequence[float]) -> float:
    return auroc([*good, *defective], [False] * len(good) + [True] * len(defective))
