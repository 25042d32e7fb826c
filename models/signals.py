"""Cheap numbers that say whether the camera still sees what it saw: one dictionary per frame.

==============  ===========================================================  ====================
signal          what                                                         unit
==============  ===========================================================  ====================
brightness      mean                                                         grey levels, 0..255
contrast        standard deviation                                           grey levels
sharpness       variance of the 3x3 Laplacian; falls when out of focus       grey levels, squared
dark_share      share of pixels at or below 2: under-exposed or black        0..1
bright_share    share of pixels at or above 253: saturated                   0..1
==============  ===========================================================  ====================

They are taken on the image as resized for the model: comparable between frames of one recipe, not between recipes.
Sharpness: J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
"""

from __future__ import annotations

from models.images import Image
from models.opencv import cv2
from models.preprocess import resize

DARK_LEVEL, BRIGHT_LEVEL = 2, 253
#: Longer side, in pixels, above which the image is shrunk first: keeps the cost under half a millisecond.
_MAX_SIDE = 320


def signals(image: Image) -> dict[str, float]:
    """Signals of an ``(H, W)`` grey or ``(H, W, 3)`` BGR uint8 image.

    Examples
    --------
    >>> import numpy as np
    >>> signals(np.full((8, 8), 255, np.uint8))["bright_share"]
    1.0
    """
    side = max(image.shape[:2])
    if side > _MAX_SIDE:
        height, width = (max(1, n * _MAX_SIDE // side) for n in image.shape[:2])
        image = resize(image, (width, height))
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    _, edges = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    histogram = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()
    return {
        "brightness": float(mean[0, 0]),
        "contrast": float(deviation[0, 0]),
        "sharpness": float(edges[0, 0] ** 2),
        "dark_share": float(histogram[: DARK_LEVEL + 1].sum() / grey.size),
        "bright_share": float(histogram[BRIGHT_LEVEL:].sum() / grey.size),
    }
