"""PaDiM: one Gaussian of the features for each place of the image, learned from good images only.

Reference: T. Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization",
ICPR 2021 workshops. The covariance is shrunk towards a multiple of the identity; the fewer images, the more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.opencv import cv2
from models.training.limits import rejected

#: Least share of the shrinkage target: without it, channels that never vary make the covariance singular.
_LEAST_SHRINKAGE = 0.01
#: Share of the images that show a place, below which it has no Gaussian.
_LEAST_SHOWN = 0.25
#: Changes of all channels whose distances tell how sensitive a model is.
_CHANGES = (10, 20, 40, 80)
#: Most channels that are summed one by one: NumPy takes long for very many very small matrices.
_FEW_CHANNELS = 4
#: Most numbers that are converted to float64 at the same time.
_PART_VALUES = 4_000_000


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

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """True for each place that has a Gaussian, ``(places,)``; the others have the distance 0."""
        return np.asarray(self.whitening.any(axis=(1, 2)))

    def sensitivity(self, limit: float) -> float:
        """Return the share of places whose distance reaches a limit if all channels change, the mean of some changes.

        The changes are 10, 20, 40 and 80. It tells models of the same features with their limits apart, without
        defects.
        """
        one = np.linalg.norm(self.whitening.sum(axis=1), axis=1)[self.is_known]
        return float(np.mean([rejected(change * one, limit).mean() for change in _CHANGES]))

    def distances(self, patches: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the distance of each place, ``(n, places)`` float32, of patches ``(n, places, channels)``."""
        found = np.empty(patches.shape[:2], np.float32)
        for part in _parts(patches):
            if len(self.mean) == 1:
                found[part] = np.linalg.norm((patches[part] - self.mean) @ self.whitening[0], axis=2)
            elif patches.shape[2] <= _FEW_CHANNELS:
                found[part] = _lower_norm(patches[part].astype(np.float32) - self.mean, self.whitening)
            else:
                centred = patches[part].astype(np.float32).transpose(1, 0, 2) - self.mean[:, None]
                found[part] = np.linalg.norm(centred @ self.whitening, axis=2).T
        return found


@dataclass(slots=True)
class Moments:
    """Sums over images from which the Gaussians follow. Sums of blocks of images can be added and subtracted.

    ``count``, of each place, is the number of images that show it, or of all their places if the places share one
    Gaussian.

    Examples
    --------
    >>> patches = np.random.default_rng(1).normal(5, 2, (500, 1, 3)).astype(np.float32)
    >>> moments = Moments.of(patches)
    >>> distances = moments.gaussians().distances(patches)
    >>> bool(1.4 < distances.mean() < 1.8)  # of a normal distribution in three dimensions: 1.6
    True
    """

    count: NDArray[np.int64]
    total: NDArray[np.float64] = field(repr=False)
    products: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(
        cls, patches: NDArray[np.floating], *, is_alike: bool = False, shown: NDArray[np.bool_] | None = None
    ) -> Moments:
        """Return the sums over patches ``(n, places, channels)``.

        Parameters
        ----------
        is_alike
            True: all places are samples of one place, for surfaces that look the same everywhere.
        shown
            Which places count, ``(n, places)``; None: all.
        """
        images, places, channels = patches.shape
        kept = 1 if is_alike else places
        if shown is None:
            count = np.full(kept, images * places // kept)
        else:
            count = np.atleast_1d(shown.sum(axis=None if is_alike else 0))
        sums = cls(count, np.zeros((kept, channels)), np.zeros((kept, channels, channels)))
        for part in _parts(patches):
            values = patches[part].astype(np.float64)
            if shown is not None:
                values[~shown[part]] = 0.0
            by_place = values.reshape(1, -1, channels) if is_alike else values.transpose(1, 0, 2)
            sums.total += by_place.sum(axis=1)
            sums.products += _products(by_place)
        return sums

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.products + other.products)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.count - other.count, self.total - other.total, self.products - other.products)

    def gaussians(self, least_deviation: float = 0.0, width: int = 1) -> Gaussians:
        """Return the Gaussians. A place that few images show has none: its mean and whitening matrix are 0.

        Parameters
        ----------
        least_deviation
            Standard deviation in every direction that is added to that of the images.
        width
            Places along each side of the square over which the covariance of a place is averaged; the places are those
            of a square map then.

        Raises
        ------
        ValueError
            If there are fewer than two images.
        """
        most = int(self.count.max())
        if most < 2:
            raise ValueError(f"{most} images; a covariance needs two")
        channels = self.total.shape[1]
        is_known = self.count >= max(2, _LEAST_SHOWN * most)
        count = np.where(is_known, self.count, most)
        mean = self.total / count[:, None]
        covariance = self.products - count[:, None, None] * mean[:, :, None] * mean[:, None, :]
        covariance /= (count - 1)[:, None, None]
        if width > 1:
            covariance = _averaged(covariance, is_known, width)
        share = np.minimum(1.0, _LEAST_SHRINKAGE + channels / (channels + 10 * count))
        level = np.trace(covariance, axis1=1, axis2=2) / channels
        # Equal images have no variance: then any difference counts.
        level = np.maximum(level, 1e-6)
        shrunk = (1 - share)[:, None, None] * covariance
        shrunk += (share * level + least_deviation**2)[:, None, None] * np.eye(channels)
        whitening = np.linalg.cholesky(np.linalg.inv(shrunk))
        mean[~is_known], whitening[~is_known] = 0.0, 0.0
        return Gaussians(mean.astype(np.float32), whitening.astype(np.float32))


def _averaged(covariance: NDArray[np.float64], is_known: NDArray[np.bool_], width: int) -> NDArray[np.float64]:
    """Return the mean covariance of the known places in the square around each place of a square map.

    Examples
    --------
    >>> covariance = np.arange(9.0).reshape(9, 1, 1)
    >>> _averaged(covariance, np.arange(9) != 8, 3).reshape(3, 3)[1:, 1:].tolist()
    [[3.5, 3.8], [5.0, 8.0]]
    """
    side, channels = math.isqrt(len(covariance)), covariance.shape[1]
    # Beyond the edge there is nothing.
    sums, counts = (
        cv2.boxFilter(each, -1, (width, width), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for each in (
            (covariance * is_known[:, None, None]).reshape(side, side, channels**2),
            is_known.astype(np.float64).reshape(side, side),
        )
    )
    means = sums.reshape(-1, channels, channels) / np.maximum(counts, 1.0).reshape(-1, 1, 1)
    return np.where(is_known[:, None, None], means, covariance)


def _products(by_place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of the products of channels, ``(places, channels, channels)``, of ``(places, n, channels)``."""
    channels = by_place.shape[2]
    if channels > _FEW_CHANNELS:
        return by_place.transpose(0, 2, 1) @ by_place
    sums = np.empty((len(by_place), channels, channels))
    for first in range(channels):
        for second in range(first, channels):
            sums[:, first, second] = (by_place[:, :, first] * by_place[:, :, second]).sum(axis=1)
            sums[:, second, first] = sums[:, first, second]
    return sums


def _lower_norm(centred: NDArray[np.float32], whitening: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the norms of ``centred @ whitening``, ``(n, places)``, for few channels; the matrices are lower ones."""
    squared = np.zeros(centred.shape[:2], np.float32)
    for to in range(centred.shape[2]):
        whitened = sum(centred[..., each] * whitening[:, each, to] for each in range(to, centred.shape[2]))
        squared += np.square(whitened)
    return np.sqrt(squared)


def _parts(patches: NDArray[np.floating]) -> Iterator[slice]:
    """Yield slices of the images, of a bounded size: float64 takes four times the memory of the patches."""
    step = max(1, _PART_VALUES // (patches.shape[1] * patches.shape[2]))
    for begin in range(0, len(patches), step):
        yield slice(begin, begin + step)
