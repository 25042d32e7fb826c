"""Recipes that were tried, and the choice between them by their self-tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from models.runtime import make_session
from models.training.anomaly_fit import AnomalyFit, SyntheticResult
from models.training.features import FeatureExtractor
from models.training.graphs import IMAGE, Head, anomaly_graph, labelled_graph
from models.training.read_images import RecipeImages, measure_ms

#: Difference of two AUROC figures up to which the earlier recipe is taken: synthetic defects do not tell them apart.
_TIE = 0.02
#: The same for parts that lie anyhow: the first recipe, with a distribution for each place, is not for them.
_TIE_ANYHOW = 0.005


@dataclass(slots=True)
class TriedRecipe:
    """Recipe that was tried, with its fit, its self-tests and the time of one image on one core."""

    extractor: FeatureExtractor
    fit: AnomalyFit
    synthetic: list[SyntheticResult]
    finest: list[SyntheticResult]
    image_ms: float

    def graph(self, head: Head | None) -> onnx.ModelProto:
        """Return the graph of the package: that of good parts, or with a head."""
        recipe, colour, good = self.fit.recipe, self.extractor.colour, self.fit.model
        if head is None:
            return anomaly_graph(recipe, colour, good)
        low, high = self.fit.map_range
        return labelled_graph(recipe, colour, good, head, low=low, high=high)

    def measure_head(self, head: Head, path: Path) -> None:
        """Measure the time of one image with a head, instead of that of the features alone."""
        session = make_session(self.graph(head).SerializeToString(), 1)
        self.image_ms = measure_ms(
            self.extractor, self.extractor.read(path), lambda tile: session.run(None, {IMAGE: tile.tensor})
        )

    @property
    def quality(self) -> float:
        """Mean AUROC over all kinds and sizes of synthetic defects."""
        return float(np.mean([result.auroc for result in self.synthetic]))

    @property
    def finest_quality(self) -> float:
        """Mean AUROC over all kinds of the finest synthetic defects."""
        return float(np.mean([result.auroc for result in self.finest]))


def best_recipe(
    tried: list[tuple[TriedRecipe, RecipeImages]], *, lies_anyhow: bool
) -> tuple[TriedRecipe, RecipeImages]:
    """Return the first recipe that is about as good as the best one, or that of pixels if it sees finer defects.

    Parameters
    ----------
    tried
        Recipes with the images that they learned from, in order.
    lies_anyhow
        True if the images cannot be laid over each other.
    """
    enough = max(candidate.quality for candidate, _ in tried) - (_TIE_ANYHOW if lies_anyhow else _TIE)
    first, *others = (each for each in tried if each[0].quality >= enough)
    for each in others:
        if each[0].fit.recipe.is_of_pixels and each[0].finest_quality > first[0].finest_quality + _TIE:
            return each
    return first
