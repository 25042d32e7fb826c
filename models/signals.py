"""Cheap numbers of each image for drift detection, taken from the small image that the model sees.

- ``brightness``: mean grey level, 0 to 255
- ``contrast``: standard deviation of the grey levels
- ``sharpness``: variance of the Laplacian, grey levels squared (Pech-Pacheco et al., ICPR 2000); falls with blur
- ``clipped_dark``, ``clipped_bright``: share of pixels at 0 and at 255, in [0, 1]
"""

from __future__ import annotations

import numpy as np

from models.images import Image
from models.opencv import cv2


def image_signals(image: Image) -> dict[str, float]:
    """Signals of a uint8 image, ``(H, W)`` or ``(H, W, 3)`` BGR.

    Examples
    --------
    >>> image_signals(np.zeros((8, 8), np.uint8))["clipped_dark"]
    1.0
    """
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    _, blur = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return {
        "brightness": float(mean.item()),
        "contrast": float(deviation.item()),
        "sharpness": float(blur.item() ** 2),
        "clipped_dark": 1.0 - np.count_nonzero(grey) / grey.size,
        "clipped_bright": np.count_nonzero(grey == 255) / grey.size,
    }
