"""Images for training: read once, resized as the worker does it, augmented without leaving the domain."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from models import preprocess
from models.datasets.elpv import Cell
from models.sample_depth import Image


def read_grey(cells: Sequence[Cell]) -> list[Image]:
    """Read each cell as an ``(H, W)`` uint8 array.

    Raises
    ------
    OSError
        If a file cannot be read as an image.
    """
    images = []
    for cell in cells:
        image = cv2.imread(str(cell.path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise OSError(f"{cell.path}: not an image that OpenCV reads")
        images.append(image.astype(np.uint8, copy=False))
    return images


def resize(image: Image, size: int) -> Image:
    """Resize to ``(size, size)`` as the model package's ``resize: stretch`` does."""
    return preprocess.resize(image, (size, size))


def augment(image: Image, size: int, rng: np.random.Generator) -> Image:
    """Apply random flips, small rotation, shift and zoom, gain and offset; return ``(size, size)`` uint8.

    A cell stays a cell after these changes: it may be mounted mirrored, slightly turned, brighter or darker.
    """
    height, width = image.shape
    angle, zoom = rng.uniform(-4, 4), rng.uniform(0.92, 1.08)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom * size / width)
    shift = rng.uniform(-0.04, 0.04, 2) * size
    matrix[:, 2] += (size - width) / 2 + shift
    out = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
    if rng.random() < 0.5:
        out = out[:, ::-1]
    if rng.random() < 0.5:
        out = out[::-1]
    if rng.random() < 0.5:
        out = out.T
    gain, offset = rng.uniform(0.8, 1.25), rng.uniform(-15, 15)
    return np.clip(out.astype(np.float32) * gain + offset, 0, 255).astype(np.uint8)
