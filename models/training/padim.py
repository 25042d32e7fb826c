"""PaDiM: one Gaussian of the features for each place of the image, learned from good images only.

Reference: T. Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization",
ICPR 2021 workshops. The covariance is shrunk towards a multiple of the identity; the fewer images, the more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: Least share of the shrinkage target: without it, channels that never vary make the covariance singular.
_LEAST_SHRINKAGE = 0.01


@dataclass(frozen=True, slots=True)
class Gaussians:
    """Mean and whitening matrix of each place.

    Parameters
    ----------
    mean
        ``(places, channels)`` float32.
    whitening
        ``(places, channels, channels)`` float32. The distance of features x is the norm of ``(x - mean) @ whitening``:
        the Mahalanobis distance.
    """

    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]

    def distances(self, patches: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the distance of each place, ``(n, places)`` float32, of patches ``(n, places, channels)``."""
        centred = patches.astype(np.float32).transpose(1, 0, 2) - self.mean[:, None]
        return np.asarray(np.linalg.norm(centred @ self.whitening, axis=2).T, np.float32)


@dataclass(slots=True)
class Moments:
    """Sums over images from which the Gaussians follow. Sums of blocks of images can be added and subtracted.

    Examples
    --------
    >>> patches = np.random.default_rng(1).normal(5, 2, (500, 1, 3)).astype(np.float32)
    >>> moments = Moments.of(patches)
    >>> distances = moments.gaussians().distances(patches)
    >>> bool(1.4 < distances.mean() < 1.8)  # of a normal distribution in three dimensions: 1.6
    True
    """

    count: int
    total: NDArray[np.float64] = field(repr=False)
    products: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, patches: NDArray[np.floating]) -> Moments:
        """Return the sums over patches ``(n, places, channels)``."""
        by_place = patches.astype(np.float64).transpose(1, 0, 2)
        return cls(len(patches), by_place.sum(axis=1), by_place.transpose(0, 2, 1) @ by_place)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.products + other.products)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.count - other.count, self.total - other.total, self.products - other.products)

    def pooled(self) -> Moments:
        """Return the sums over all places, as one place: for surfaces that look the same everywhere."""
        places = len(self.total)
        return Moments(self.count * places, self.total.sum(axis=0)[None], self.products.sum(axis=0)[None])

    def gaussians(self) -> Gaussians:
        """Return the Gaussians.

        Raises
        ------
        ValueError
            If there are fewer than two images.
        """
        if self.count < 2:
            raise ValueError(f"{self.count} images; a covariance needs two")
        channels = self.total.shape[1]
        mean = self.total / self.count
        covariance = (self.products - self.count * mean[:, :, None] * mean[:, None, :]) / (self.count - 1)
        share = min(1.0, _LEAST_SHRINKAGE + channels / (channels + 10 * self.count))
        level = np.trace(covariance, axis1=1, axis2=2) / channels
        # Equal images have no variance: then any difference counts.
        level = np.maximum(level, 1e-6)
        shrunk = (1 - share) * covariance + (share * level)[:, None, None] * np.eye(channels)
        whitening = np.linalg.cholesky(np.linalg.inv(shrunk))
        return Gaussians(mean.astype(np.float32), whitening.astype(np.float32))
