"""Tiles of images of which only the truth of the whole is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Most tiles of good parts that a head is fitted to.
GOOD_TILES = 2500


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images of one truth, in the order of their names, with their tiles. Without tiles, an image is one tile.

    Parameters
    ----------
    pooled
        ``(tiles, features)``: features of each tile as a whole, see `models.training.graphs.pooled_graph`.
    map_scores
        ``(tiles,)``: score of the map, by a model that has not seen the image.
    folds
        ``(n,)``: fold of each image.
    owners
        ``(tiles,)``: number of the image of each tile, ascending.
    """

    pooled: NDArray[np.floating]
    map_scores: NDArray[np.float64]
    folds: NDArray[np.int64]
    owners: NDArray[np.int64]

    @classmethod
    def of(
        cls, images: Sequence[tuple[NDArray[np.floating], NDArray[np.float64]]], folds: NDArray[np.int64]
    ) -> LabelledImages:
        """Join the features and scores of the tiles of each image."""
        pooled, scores = zip(*images, strict=True)
        owners = np.repeat(np.arange(len(images)), [len(each) for each in scores])
        return cls(np.concatenate(pooled), np.concatenate(scores), folds, owners)


@dataclass(frozen=True, slots=True)
class LabelledTiles:
    """Tiles of good and defective images, the good ones first.

    Parameters
    ----------
    first
        ``(n,)``: first tile of each image.
    is_defective
        ``(n,)``: truth of each image.
    folds
        ``(n,)``: fold of each image.
    owners
        ``(tiles,)``: image of each tile.
    """

    pooled: NDArray[np.floating]
    map_scores: NDArray[np.float64]
    first: NDArray[np.int64]
    is_defective: NDArray[np.bool_]
    folds: NDArray[np.int64]
    owners: NDArray[np.int64]

    @classmethod
    def of(cls, good: LabelledImages, defective: LabelledImages) -> LabelledTiles:
        count = len(good.folds)
        owners = np.concatenate([good.owners, count + defective.owners])
        return cls(
            np.concatenate([good.pooled, defective.pooled]),
            np.concatenate([good.map_scores, defective.map_scores]),
            np.flatnonzero(np.diff(owners, prepend=-1)),
            np.arange(count + len(defective.folds)) >= count,
            np.concatenate([good.folds, defective.folds]),
            owners,
        )

    def worst(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the largest value of the tiles of each image."""
        return np.asarray(np.maximum.reduceat(values, self.first))

    def most_suspicious(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the tile with the largest value of each image."""
        order = np.lexsort((values, self.owners))
        return np.asarray(order[np.append(self.first[1:], len(order)) - 1])

    def good_to_learn(self) -> NDArray[np.int64]:
        """Return tiles of good images: all, or as many as a head is fitted to.

        Half of them have the highest scores of the map in their image, the others are spread evenly.
        """
        tiles = np.flatnonzero(~self.is_defective[self.owners])
        if len(tiles) <= GOOD_TILES:
            return tiles
        few = GOOD_TILES // 2
        place_in_image = np.empty(len(tiles), np.int64)
        order = np.lexsort((-self.map_scores[tiles], self.owners[tiles]))
        place_in_image[order] = np.arange(len(tiles)) - self.first[self.owners[tiles[order]]]
        highest = tiles[np.lexsort((-self.map_scores[tiles], place_in_image))[:few]]
        return np.union1d(highest, tiles[np.arange(few) * len(tiles) // few])
