"""Conversion of pixels to the tensor that the manifest describes, and of coordinates back to the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.input_spec import InputSpec
from models.opencv import cv2
from models.placement import Placement
from models.sample_depth import Image

Tensor = NDArray[Any]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Position of the frame within the model's input.

    ``scale_x`` and ``scale_y`` are input pixels per frame pixel; ``left`` and ``top`` are the padding in input pixels.
    If the input is a part of the frame, ``frame_width`` and ``frame_height`` are those of the part, and ``part_x`` and
    ``part_y`` its place in the frame. If the frame was aligned, these are sizes and places in the aligned frame, and
    ``placement`` leads back.
    """

    frame_width: int
    frame_height: int
    scale_x: float
    scale_y: float
    left: int = 0
    top: int = 0
    part_x: int = 0
    part_y: int = 0
    placement: Placement | None = None

    def to_frame(self, x1: float, y1: float, x2: float, y2: float) -> Box:
        """Convert corners in input pixels to x, y, width, height in frame pixels, cut to the frame, or to its part.

        Examples
        --------
        >>> Geometry(640, 480, 0.5, 0.5, top=40).to_frame(10, 50, 20, 60)
        (20.0, 20.0, 20.0, 20.0)
        """
        left = min(max((x1 - self.left) / self.scale_x, 0.0), float(self.frame_width))
        top = min(max((y1 - self.top) / self.scale_y, 0.0), float(self.frame_height))
        right = min(max((x2 - self.left) / self.scale_x, 0.0), float(self.frame_width))
        bottom = min(max((y2 - self.top) / self.scale_y, 0.0), float(self.frame_height))
        box = (left + self.part_x, top + self.part_y, max(right - left, 0.0), max(bottom - top, 0.0))
        return box if self.placement is None else self.placement.box(box)


def content_wh(frame_wh: tuple[int, int], spec: InputSpec) -> tuple[int, int]:
    """Return the width and height of the image within the model's input.

    Examples
    --------
    >>> square = InputSpec(name="x", width=320, height=320, colour="grey", dtype="uint8", resize="letterbox")
    >>> content_wh((640, 480), square)
    (320, 240)
    """
    if spec.resize == "stretch":
        return spec.width, spec.height
    scale = min(spec.width / frame_wh[0], spec.height / frame_wh[1])
    return max(1, round(frame_wh[0] * scale)), max(1, round(frame_wh[1] * scale))


def resize(image: Image, size_wh: tuple[int, int]) -> Image:
    """Resize an image: first by whole factors with area averaging (no moire), then by the rest, under 2, linearly.

    In OpenCV, area averaging by other than whole factors takes seven times as long as linear interpolation. Below a
    factor of 2 there is little left to average. An image that already has the size is returned unchanged.

    Examples
    --------
    >>> resize(np.zeros((1080, 1920, 3), np.uint8), (224, 224)).shape
    (224, 224, 3)
    """
    height, width = image.shape[:2]
    if (width, height) == size_wh:
        return image
    by_x, by_y = max(1, width // size_wh[0]), max(1, height // size_wh[1])
    resized: NDArray[Any] = image
    if by_x > 1 or by_y > 1:
        whole = width % by_x == height % by_y == 0
        resized = cv2.resize(image, (width // by_x, height // by_y) if whole else size_wh, interpolation=cv2.INTER_AREA)
    if resized.shape[1::-1] != size_wh:
        resized = cv2.resize(resized, size_wh, interpolation=cv2.INTER_LINEAR)
    return resized.astype(np.uint8, copy=False)


def to_tensor(
    image: Image,
    frame_wh: tuple[int, int],
    spec: InputSpec,
    part_xy: tuple[int, int] = (0, 0),
    placement: Placement | None = None,
) -> tuple[Tensor, Image, Geometry]:
    """Return the model's input made of a decoded image.

    Parameters
    ----------
    image
        ``(H, W)`` grey or ``(H, W, 3)`` BGR uint8, possibly decoded at reduced scale; it is not changed.
    frame_wh
        Width and height of the full image, or of the part of it that is the input.
    part_xy
        Place of this part in the frame.
    placement
        Placement of the part in the frame, if the image is an aligned one.

    Returns
    -------
    tensor
        Tensor of ``spec.shape`` and ``spec.dtype``, C-contiguous.
    small
        Resized image before padding and normalisation, uint8; signals are computed on it.
    geometry
        Mapping of coordinates back to the frame.
    """
    width, height = content_wh(frame_wh, spec)
    small = resize(image, (width, height))
    left, top = (spec.width - width) // 2, (spec.height - height) // 2
    geometry = Geometry(*frame_wh, width / frame_wh[0], height / frame_wh[1], left, top, *part_xy, placement)

    if (width, height) == (spec.width, spec.height):
        padded = small
    else:
        padded = np.full((spec.height, spec.width, *small.shape[2:]), spec.pad, np.uint8)
        padded[top : top + height, left : left + width] = small
    return _normalise(_channels(padded, spec), spec)[None], small, geometry


def _channels(image: Image, spec: InputSpec) -> Image:
    """Return the channels in the order and layout of the model.

    `cv2.split` is three times as fast as a transposed copy. It writes into the planes of the result: with planes of its
    own, and a copy of them, it takes four times as long.
    """
    if image.ndim == 2:
        return image[None] if spec.layout == "NCHW" else image[:, :, None]
    if spec.layout == "NHWC":
        return image[:, :, ::-1] if spec.colour == "rgb" else image
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes[::-1] if spec.colour == "rgb" else planes))
    return planes


def _normalise(channels: Image, spec: InputSpec) -> Tensor:
    if spec.dtype == "uint8":
        return np.ascontiguousarray(channels)
    mean = np.array(spec.mean or (0.0,), np.float32)
    std = np.array(spec.std or (1.0,), np.float32)
    if spec.layout == "NCHW":
        mean, std = mean[:, None, None], std[:, None, None]
    out = np.empty(channels.shape, np.float32)
    np.multiply(channels, np.float32(spec.scale) / std, out=out)
    out -= mean / std
    return out if spec.dtype == "float32" else out.astype(spec.dtype)
