"""Synthetic defects on images of good parts, for the self-test of `inspection train`.

They are not the defects of the product. They show which sizes and kinds of change a model sees at all. Cut and paste
follows C.-L. Li et al., "CutPaste", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from models.opencv import cv2
from models.sample_depth import Image

DefectKind = Literal["patch", "speck", "scratch", "stain"]
KINDS: tuple[DefectKind, ...] = get_args(DefectKind)
#: Sizes of defects, as shares of the shorter side of the image.
SIZES = (0.02, 0.05, 0.1)
#: Size that few models see; it tells models apart that find all the others.
FINEST = 0.01


def extent_of(size: float, image_wh: tuple[int, int]) -> int:
    """Return the extent of a defect in pixels, at least 2.

    Parameters
    ----------
    size
        Share of the shorter side of the image.

    Examples
    --------
    >>> extent_of(0.01, (640, 480)), extent_of(0.01, (32, 32))
    (5, 2)
    """
    return max(2, round(size * min(image_wh)))


def add_defect(image: Image, kind: DefectKind, size: float, rng: np.random.Generator) -> Image:
    """Return a copy of an image with a defect.

    Parameters
    ----------
    image
        ``(H, W)`` or ``(H, W, 3)`` uint8.
    kind
        ``patch``: a piece of the image at another place, turned; ``speck``: a dark or bright dot; ``scratch``: a thin
        line, five times as long as the size; ``stain``: a soft change of brightness, twice as wide as the size.
    size
        Extent of the defect, as a share of the shorter side.

    Examples
    --------
    >>> grey = np.full((100, 200), 128, np.uint8)
    >>> defective = add_defect(grey, "speck", 0.1, np.random.default_rng(1))
    >>> 40 < int((defective != grey).sum()) < 200
    True
    """
    made = np.ascontiguousarray(image).copy()
    _DRAW[kind](made, extent_of(size, (image.shape[1], image.shape[0])), rng)
    return made


def _position(image: Image, extent: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return the centre of a defect, x and y, not at the very edge."""
    height, width = image.shape[:2]
    margin_x, margin_y = min(width // 2, extent + width // 20), min(height // 2, extent + height // 20)
    return (
        int(rng.integers(margin_x, max(margin_x + 1, width - margin_x))),
        int(rng.integers(margin_y, max(margin_y + 1, height - margin_y))),
    )


def _contrast(image: Image, rng: np.random.Generator) -> float:
    """Return a change of brightness that stands out of the image's own variation, with a random sign."""
    # Not std() of NumPy, which takes eight bytes for each pixel.
    _, deviations = cv2.meanStdDev(image)
    change = 40 + 1.5 * float(np.sqrt(np.square(deviations).mean()))
    return change if rng.random() < 0.5 else -change


def _blend(image: Image, mask: np.ndarray, change: float) -> None:
    # Only where the mask is: a line-scan image has millions of other pixels.
    left, top, width, height = cv2.boundingRect(mask)
    part = image[top : top + height, left : left + width]
    weights = mask[top : top + height, left : left + width].astype(np.float32) / 255
    if image.ndim == 3:
        weights = weights[:, :, None]
    part[:] = np.clip(part + weights * change, 0, 255).astype(np.uint8)


def _patch(image: Image, extent: int, rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    x, y = _position(image, extent, rng)
    from_x, from_y = (int(rng.integers(0, max(1, limit - extent))) for limit in (width, height))
    piece = np.rot90(image[from_y : from_y + extent, from_x : from_x + extent], int(rng.integers(1, 4))).copy()
    top, left = max(0, y - extent // 2), max(0, x - extent // 2)
    target = image[top : top + piece.shape[0], left : left + piece.shape[1]]
    # A piece that looks like its new surroundings is no defect: it is made a little brighter or darker.
    piece = np.clip(piece.astype(np.float32) + _contrast(image, rng) / 2, 0, 255)
    target[:] = piece[: target.shape[0], : target.shape[1]].astype(np.uint8)


def _speck(image: Image, extent: int, rng: np.random.Generator) -> None:
    mask = np.zeros(image.shape[:2], np.uint8)
    axes = (max(1, extent // 2), max(1, round(extent * rng.uniform(0.3, 0.5))))
    cv2.ellipse(mask, _position(image, extent, rng), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
    _blend(image, mask, _contrast(image, rng))


def _scratch(image: Image, extent: int, rng: np.random.Generator) -> None:
    mask = np.zeros(image.shape[:2], np.uint8)
    x, y = _position(image, extent, rng)
    angle, length = rng.uniform(0, np.pi), 5 * extent
    points = []
    for share in np.linspace(-0.5, 0.5, 6):
        bend = rng.normal(0, 0.05 * length)
        points.append(
            (x + share * length * np.cos(angle) - bend * np.sin(angle), y + share * length * np.sin(angle) + bend)
        )
    cv2.polylines(mask, [np.array(points, np.int32)], False, 255, max(1, extent // 6), cv2.LINE_AA)
    _blend(image, mask, _contrast(image, rng))


def _stain(image: Image, extent: int, rng: np.random.Generator) -> None:
    mask = np.zeros(image.shape[:2], np.uint8)
    x, y = _position(image, extent, rng)
    cv2.circle(mask, (x, y), extent, 255, -1)
    sigma = max(1.0, extent / 3)
    reach = extent + int(4 * sigma) + 1  # the blur ends before
    part = mask[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
    part[:] = cv2.GaussianBlur(part, (0, 0), sigma)
    _blend(image, mask, _contrast(image, rng) / 2)


_DRAW: dict[DefectKind, Callable[[Image, int, np.random.Generator], None]] = {
    "patch": _patch, "speck": _speck, "scratch": _scratch, "stain": _stain,
}  # fmt: skip
