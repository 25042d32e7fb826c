"""Reference signals of the training images: the level from which drift is measured.

A reference contains, for each signal, quantiles of the training images. A new value becomes a *normal score*: the
standard normal deviate of its rank among them. Even if a signal's distribution is skewed or bounded, its normal scores
are standard normal as long as the camera sees images like those of the training. So one threshold fits all signals.

Rank-based normal scores: B. L. van der Waerden (1952); G. Blom, "Statistical Estimates and Transformed
Beta-Variables" (1958).
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.signals import CODES, RESOLUTION

#: Limit of normal scores, so that no single frame counts for more.
MAX_SCORE = 4.0
_QUANTILES = 65
#: Points between two quantiles at which a reference is sampled.
_PER_QUANTILE = 16
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class SignalReference:
    """Distribution of one signal over the images of a reference.

    Parameters
    ----------
    quantiles
        Quantiles at equally spaced probabilities from 0 to 1, ascending; 2 or more.
    mean, sd
        Mean and standard deviation of the signal, in its unit.
    images
        Number of images.
    resolution
        Smallest difference that counts, in the signal's unit.

    Examples
    --------
    >>> flat = SignalReference.of([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> flat.normal_score(3.0), round(flat.normal_score(1e9), 1)
    (0.0, 4.0)
    """

    quantiles: tuple[float, ...]
    mean: float
    sd: float
    images: int
    resolution: float = 0.0

    @classmethod
    def of(cls, values: Sequence[float], resolution: float = 0.0) -> SignalReference:
        """Make the reference of the values of a signal; values that are not finite are left out.

        Raises
        ------
        ValueError
            If fewer than two finite values are left.
        """
        array = np.asarray(values, np.float64)
        array = array[np.isfinite(array)]
        if array.size < 2:
            raise ValueError("a reference needs two values or more")
        quantiles = np.quantile(array, np.linspace(0, 1, min(_QUANTILES, array.size)))
        return cls(tuple(quantiles.tolist()), float(array.mean()), float(array.std()), int(array.size), resolution)

    def rank(self, value: float) -> float:
        """Return the share of the reference below a value, with ties counted half; within (0, 1)."""
        quantiles = self.quantiles
        low = bisect_left(quantiles, value - self.resolution)
        high = bisect_right(quantiles, value + self.resolution)
        last = len(quantiles) - 1
        if low < high:
            share = (low + high - 1) / 2 / last
        elif low == 0 or low > last:
            share = 0.0 if low == 0 else 1.0
        else:
            below, above = quantiles[low - 1], quantiles[low]
            share = (low - 1 + (value - below) / (above - below)) / last
        edge = 0.5 / self.images
        return min(max(share, edge), 1 - edge)

    def normal_score(self, value: float) -> float:
        """Return the standard normal deviate of the rank of a value.

        Beyond the reference the score grows linearly, up to `MAX_SCORE`.
        """
        score = _NORMAL.inv_cdf(self.rank(value))
        scale = max(self.sd, self.resolution) or 1.0
        if value > self.quantiles[-1] + self.resolution:
            score += (value - self.quantiles[-1]) / scale
        elif value < self.quantiles[0] - self.resolution:
            score -= (self.quantiles[0] - value) / scale
        return min(max(score, -MAX_SCORE), MAX_SCORE)

    def rank_shares(self, bins: int) -> list[float]:
        """Return the share of the reference in each of ``bins`` equal intervals of rank.

        The shares are equal unless values repeat.

        Examples
        --------
        >>> SignalReference.of([float(n) for n in range(65)]).rank_shares(2)
        [0.5, 0.5]
        >>> SignalReference.of([0.0] * 64 + [1.0]).rank_shares(2)  # tied ones are in the middle of their ranks
        [0.984375, 0.015625]
        """
        steps = len(self.quantiles) - 1
        positions = (np.arange(steps * _PER_QUANTILE) + 0.5) / _PER_QUANTILE
        values = np.interp(positions, np.arange(steps + 1), self.quantiles)
        counts = [0] * bins
        for value in values.tolist():
            counts[min(int(self.rank(value) * bins), bins - 1)] += 1
        return [count / len(values) for count in counts]

    def as_json(self) -> dict[str, Any]:
        """Return a plain object, for `from_json`."""
        rounded = [float(f"{q:.6g}") for q in self.quantiles]
        return {
            "quantiles": rounded, "mean": float(f"{self.mean:.6g}"), "sd": float(f"{self.sd:.6g}"),
            "images": self.images, "resolution": self.resolution,
        }  # fmt: skip

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> SignalReference:
        """Read an object that `as_json` made.

        Raises
        ------
        ValueError
            If it is not such an object.
        """
        try:
            quantiles = tuple(float(q) for q in given["quantiles"])
            numbers = [float(given[name]) for name in ("mean", "sd", "resolution")]
            images = int(given["images"])
        except (KeyError, OverflowError, TypeError) as error:
            raise ValueError(f"no reference of a signal: {error}") from error
        if len(quantiles) < 2 or list(quantiles) != sorted(quantiles) or images < 2:
            raise ValueError("quantiles must ascend, and be of two images or more")
        if not all(map(math.isfinite, [*quantiles, *numbers])):
            raise ValueError("a number is not finite")
        return cls(quantiles, numbers[0], numbers[1], images, numbers[2])


#: References by signal.
SignalReferences = Mapping[str, SignalReference]


def references_of(rows: Sequence[Mapping[str, float]]) -> dict[str, SignalReference]:
    """Return the references of all signals that at least half of the rows have, without codes such as the hash.

    Examples
    --------
    >>> sorted(references_of([{"brightness": 1.0, "dhash_hi": 3.0}, {"brightness": 2.0}]))
    ['brightness']
    """
    names = {name for row in rows for name in row} - CODES
    found = {}
    for name in sorted(names):
        values = [row[name] for row in rows if math.isfinite(row.get(name, math.nan))]
        if len(values) >= 2 and 2 * len(values) >= len(rows):
            found[name] = SignalReference.of(values, RESOLUTION.get(name, 0.0))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """References of a model package: those of all training images, and those of each product.

    Parameters
    ----------
    everything
        References of all images.
    products
        References of the images of each product alone, by product.
    embedding_mean, embedding_sd
        Mean and standard deviation of the embeddings of the training images, ``(D,)`` float32; None if the model has no
        ``embedding`` output.
    """

    everything: SignalReferences
    products: Mapping[str, SignalReferences]
    embedding_mean: NDArray[np.float32] | None = None
    embedding_sd: NDArray[np.float32] | None = None

    def of(self, product: str | None) -> SignalReferences:
        """Return the references of a product, or those of all images if the product is not known."""
        return self.products.get(product or "", self.everything)

    def embedding_distance(self, embedding: NDArray[Any]) -> float | None:
        """Return the root mean square of the deviations of an embedding, in standard deviations.

        None if the reference has no embedding of this size.
        """
        if self.embedding_mean is None or self.embedding_sd is None or embedding.size != self.embedding_mean.size:
            return None
        deviations = (embedding.reshape(-1).astype(np.float32) - self.embedding_mean) / self.embedding_sd
        return float(np.sqrt(np.mean(np.square(deviations))))

    def dumps(self) -> str:
        """Return the text of ``reference.json``."""
        embedding = None
        if self.embedding_mean is not None and self.embedding_sd is not None:
            embedding = {"mean": _rounded(self.embedding_mean), "sd": _rounded(self.embedding_sd)}
        plain = {
            "reference_version": 1,
            "everything": {name: ref.as_json() for name, ref in self.everything.items()},
            "products": {p: {n: r.as_json() for n, r in refs.items()} for p, refs in self.products.items()},
            "embedding": embedding,
        }
        return json.dumps(plain, separators=(",", ":")) + "\n"

    @classmethod
    def loads(cls, text: str | bytes) -> Reference:
        """Read ``reference.json``.

        Raises
        ------
        ValueError
            If the text is not a reference; the message states the fault.
        """
        try:
            plain = json.loads(text)
            if plain["reference_version"] != 1:
                raise ValueError(f"reference_version {plain['reference_version']!r} is not known")
            everything = _references(plain["everything"])
            products = {str(product): _references(refs) for product, refs in plain["products"].items()}
            embedding = plain.get("embedding")
            if embedding is None:
                return cls(everything, products)
            mean, sd = (np.asarray(embedding[name], np.float32) for name in ("mean", "sd"))
        except (KeyError, OverflowError, TypeError, AttributeError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"no reference: {type(error).__name__} {error}") from error
        if mean.ndim != 1 or mean.shape != sd.shape or not (np.isfinite(mean).all() and (sd > 0).all()):
            raise ValueError("the embedding's mean and sd must be lists of finite numbers of one length, sd above 0")
        return cls(everything, products, mean, sd)


def _references(plain: Mapping[str, Any]) -> dict[str, SignalReference]:
    return {str(name): SignalReference.from_json(given) for name, given in plain.items()}


def _rounded(values: NDArray[np.float32]) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]
