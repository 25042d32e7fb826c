"""Model of the good parts of several products: the Gaussians of each, and the product that fits an image best.

A defect of one product may be usual in another, so each has a map of its own. Maps of different products are compared
on one scale: that of the scores of their own good images. An image is judged by the product with the least score. So
neither the line nor a replay has to know which product a frame shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.training.padim import Gaussians

#: Percentile of the map that is the score of an image: a maximum that one noisy place does not move.
PERCENTILE = 99.0


def scores_of(distances: NDArray[np.floating], percentile: float = PERCENTILE) -> NDArray[np.float64]:
    """Return the score of each image, of distances ``(n, places)``."""
    return np.asarray(np.percentile(distances, percentile, axis=1), np.float64)


@dataclass(frozen=True, slots=True)
class Scale:
    """Median of the scores of a product's good images, and the distance of their 90th and 10th percentiles."""

    middle: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, scores: NDArray[np.floating]) -> Scale:
        """Return the scale of scores.

        Examples
        --------
        >>> Scale.of(np.arange(11.0))
        Scale(middle=5.0, spread=8.0)
        """
        low, middle, high = (float(value) for value in np.percentile(scores, [10, 50, 90]))
        return cls(middle, max(high - low, 1e-6))


@dataclass(frozen=True, slots=True)
class GoodParts:
    """Gaussians of each product with their scales. With one product, the distances are those of its Gaussians.

    Cells of ``pool`` x ``pool`` places have the largest distance of their places.
    """

    products: tuple[Gaussians, ...]
    scales: tuple[Scale, ...]
    pool: int = 1

    def distances(self, patches: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the distance of each place, ``(n, places)``, by the product that fits the image best."""
        if len(self.products) == 1:
            return _pooled(self.products[0].distances(patches), self.pool)
        maps = np.stack(
            [
                (gaussians.distances(patches) - np.float32(scale.middle)) / np.float32(scale.spread)
                for gaussians, scale in zip(self.products, self.scales, strict=True)
            ]
        )
        best = np.argmin([scores_of(each) for each in maps], axis=0)
        return _pooled(np.asarray(maps[best, np.arange(len(best))]), self.pool)


def _pooled(distances: NDArray[np.float32], pool: int) -> NDArray[np.float32]:
    """Return the largest distance in each cell of ``pool`` x ``pool`` places of a square map.

    Examples
    --------
    >>> _pooled(np.arange(16, dtype=np.float32).reshape(1, 16), 2).tolist()
    [[5.0, 7.0, 13.0, 15.0]]
    """
    if pool == 1:
        return distances
    cells = math.isqrt(distances.shape[1]) // pool
    worst = distances.reshape(-1, cells, pool, cells, pool).max(axis=(2, 4))
    return np.asarray(worst.reshape(len(distances), -1), np.float32)
