"""Signals: cheap numbers that show if the pictures of the camera have changed, as one dictionary for each frame.

==================  ======================================================================  ====================
signal              meaning                                                                 unit
==================  ======================================================================  ====================
brightness          mean                                                                    grey levels, 0..255
contrast            standard deviation                                                      grey levels
sharpness           variance of the 3x3 Laplacian; falls when out of focus                  grey levels, squared
noise               standard deviation of the noise, from second differences                grey levels
dark_share          share of pixels at or below 2: under-exposed or black                   0..1
bright_share        share of pixels at or above 253: saturated                              0..1
edge_density        share of pixels whose Sobel gradient (L1) is over 64                    0..1
red_green           log2 of mean red over mean green; colour images only                    octaves
blue_green          log2 of mean blue over mean green; colour images only                   octaves
dhash_hi, dhash_lo  upper and lower 32 bits of the 64-bit difference hash                   integers
score               defect score of the model                                               0..1
entropy             entropy of that score: uncertainty of the model                         bits, 0..1
embedding_distance  root mean square of the embedding's deviations from the training        standard deviations
                    images, if the model package exposes an ``embedding``
defect_area         area of all regions that are defects; segmentation only                 pixels of the frame
==================  ======================================================================  ====================

The first eleven signals are measured on the image as resized for the model: on its region of interest, and with tiles
on each tile; then they are means. They are comparable between frames of one recipe, but not between recipes. A 64-bit
hash does not fit into a double, so it has two halves; `dhash_distance` compares two frames.

Sharpness: J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000. Noise: J. Immerkaer,
"Fast noise variance estimation", Computer Vision and Image Understanding 64 (1996). Difference hash: N. Krawetz,
"Kind of like that", hackerfactor.com (2013).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.opencv import cv2
from models.preprocess import resize
from models.sample_depth import Image

#: Name of the signal that tasks with regions add.
DEFECT_AREA = "defect_area"
DARK_LEVEL, BRIGHT_LEVEL, EDGE_LEVEL = 2, 253, 64
#: Smallest difference that counts, in the unit of each signal; for signals that are constant on a good line.
RESOLUTION: Mapping[str, float] = {
    "brightness": 0.25,
    "contrast": 0.1,
    "sharpness": 0.5,
    "noise": 0.02,
    "dark_share": 0.002,
    "bright_share": 0.002,
    "edge_density": 0.002,
    "red_green": 0.005,
    "blue_green": 0.005,
    "score": 0.001,
    "entropy": 0.001,
}
#: Signals that are codes and not quantities; they must not be averaged.
CODES = frozenset({"dhash_hi", "dhash_lo"})

#: Longer side, in pixels, above which the image is shrunk first. This keeps the cost under half a millisecond.
_MAX_SIDE = 320
#: Bound on the error of OpenCV's float32 in the mean of a cell, in grey levels, with a margin.
_ROUNDING = 2e-3
_SECOND_DIFFERENCE = np.array([1.0, -2.0, 1.0])


def signals(image: Image) -> dict[str, float]:
    """Return the signals of an ``(H, W)`` grey or ``(H, W, 3)`` BGR uint8 image.

    Examples
    --------
    >>> import numpy as np
    >>> white = signals(np.full((8, 8), 255, np.uint8))
    >>> white["bright_share"], white["noise"], "red_green" in white
    (1.0, 0.0, False)
    """
    side = max(image.shape[:2])
    if side > _MAX_SIDE:
        height, width = (max(1, n * _MAX_SIDE // side) for n in image.shape[:2])
        image = resize(image, (width, height))
    grey = np.asarray(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    mean, deviation = cv2.meanStdDev(grey)
    upper, lower = divmod(dhash(grey), 1 << 32)
    return {
        "brightness": float(mean[0, 0]),
        "contrast": float(deviation[0, 0]),
        "sharpness": _sharpness(grey),
        "noise": _noise(grey),
        "dark_share": float(np.count_nonzero(grey <= DARK_LEVEL) / grey.size),
        "bright_share": float(np.count_nonzero(grey >= BRIGHT_LEVEL) / grey.size),
        "edge_density": _edge_density(grey),
        **({} if image.ndim == 2 else _colour_balance(image)),
        "dhash_hi": float(upper),
        "dhash_lo": float(lower),
    }


def dhash(grey: Image) -> int:
    """Return the 64-bit difference hash: 8 x 8 bits, 1 for each place where brightness rises from left to right.

    Examples
    --------
    >>> import numpy as np
    >>> f"{dhash(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))):x}"
    'ffffffffffffffff'
    """
    rises = _rises(grey)
    if rises is None:
        small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
        rises = small[:, 1:] > small[:, :-1]
    return int.from_bytes(np.packbits(rises).tobytes(), "big")


def _rises(grey: Image) -> NDArray[np.bool_] | None:
    """Return the bits of `dhash` at a third of its cost.

    None if the bits depend on the rounding of OpenCV, and for small images. The mean of a cell is a difference of the
    integral image, exact except for float64. OpenCV's own mean has an error of less than `_ROUNDING`, since it adds
    fewer than 90 terms of at most 255 in float32, and is then rounded to a whole number. If both roundings of both
    neighbours lead to the same bit, OpenCV returns that bit too.
    """
    height, width = grey.shape
    if height < 8 or width < 9 or max(height, width) > _MAX_SIDE:
        return None
    (top, next_top, below), (left, next_left, right) = _edges(height, 8), _edges(width, 9)
    sums = cv2.integral(grey)
    upper = sums[top]
    rows = upper + (sums[next_top] - upper) * below[:, None]
    corner = rows[:, left]
    corners = corner + (rows[:, next_left] - corner) * right
    strips = corners[1:] - corners[:-1]
    means = (strips[:, 1:] - strips[:, :-1]) * (72 / grey.size)
    low, high = np.rint(means - _ROUNDING), np.rint(means + _ROUNDING)
    rises = low[:, 1:] > high[:, :-1]
    return rises if np.array_equal(rises, high[:, 1:] > low[:, :-1]) else None


@cache
def _edges(size: int, parts: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the cuts of a side into equal parts.

    Each cut has its pixel, the next pixel, and the share of the pixel before the cut.
    """
    cuts = np.arange(parts + 1) * (size / parts)
    whole = np.floor(cuts).astype(np.int64)
    whole[-1] = size
    return whole, np.minimum(whole + 1, size), np.where(whole < size, cuts - whole, 0.0)


def dhash_distance(one: Mapping[str, float], other: Mapping[str, float]) -> int | None:
    """Return the number of bits, 0 to 64, in which the hashes of two frames differ, from the signals of the frames.

    None if one of the frames has no hash.

    Examples
    --------
    >>> dhash_distance({"dhash_hi": 1.0, "dhash_lo": 0.0}, {"dhash_hi": 0.0, "dhash_lo": 3.0})
    3
    """
    try:
        return sum((int(one[half]) ^ int(other[half])).bit_count() for half in ("dhash_hi", "dhash_lo"))
    except (KeyError, ValueError, OverflowError):
        return None


def score_signals(score: float) -> dict[str, float]:
    """Return the signals of the model's defect score; no signals if it is not a number in [0, 1].

    Examples
    --------
    >>> score_signals(0.5)
    {'score': 0.5, 'entropy': 1.0}
    >>> score_signals(float("nan"))
    {}
    """
    if not 0 <= score <= 1:
        return {}
    bits = -sum(p * math.log2(p) for p in (score, 1 - score) if p > 0)
    return {"score": score, "entropy": max(0.0, bits)}


def _sharpness(grey: Image) -> float:
    # Not meanStdDev, which takes nine times as long for 16 bits. The sums are whole numbers, so they are exact.
    edges = cv2.Laplacian(grey, cv2.CV_16S)
    return float(max(0.0, cv2.norm(edges, cv2.NORM_L2SQR) / grey.size - cv2.mean(edges)[0] ** 2))


def _noise(grey: Image) -> float:
    if min(grey.shape) < 3:
        return 0.0
    differences = cv2.sepFilter2D(grey, cv2.CV_16S, _SECOND_DIFFERENCE, _SECOND_DIFFERENCE)
    return float(math.sqrt(math.pi / 2) / 6 * cv2.norm(differences, cv2.NORM_L1) / grey.size)


def _edge_density(grey: Image) -> float:
    if min(grey.shape) < 2:
        return 0.0
    across, down = cv2.spatialGradient(grey)
    gradient = cv2.add(cv2.convertScaleAbs(across), cv2.convertScaleAbs(down))
    return float(np.count_nonzero(gradient > EDGE_LEVEL) / grey.size)


def _colour_balance(image: Image) -> dict[str, float]:
    blue, green, red, _ = (value + 1 for value in cv2.mean(image))  # one level more, for the logarithm of black
    return {"red_green": math.log2(red / green), "blue_green": math.log2(blue / green)}
