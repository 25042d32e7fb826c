"""Pixels to the model's input tensor, as the manifest says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from models.images import Image
from models.manifest import InputSpec
from models.opencv import cv2

_PADDING = 114  # grey, as letterboxing detectors are trained with


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the image lies in the model's input: ``input = image * scale + offset``, x before y."""

    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]

    def after(self, reduction_xy: tuple[float, float]) -> Placement:
        """The placement seen from the full frame, of which the image was decoded at a reduced scale."""
        scale = (self.scale_xy[0] * reduction_xy[0], self.scale_xy[1] * reduction_xy[1])
        return Placement(scale, self.offset_xy)


def resize(image: Image, spec: InputSpec) -> tuple[Image, Placement]:
    """Resize to the input's size: area averaging to shrink, linear to grow; the input image is not changed."""
    height, width = image.shape[:2]
    if spec.resize == "stretch":
        size, offset = (spec.width, spec.height), (0, 0)
    else:
        factor = min(spec.width / width, spec.height / height)
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        offset = ((spec.width - size[0]) // 2, (spec.height - size[1]) // 2)
    if (width, height) != size:
        shrinking = size[0] <= width and size[1] <= height
        how = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        image = cast(Image, cv2.resize(image, size, interpolation=how))
    if offset != (0, 0) or size != (spec.width, spec.height):
        right, bottom = spec.width - size[0] - offset[0], spec.height - size[1] - offset[1]
        padding = (offset[1], bottom, offset[0], right)
        image = cast(Image, cv2.copyMakeBorder(image, *padding, cv2.BORDER_CONSTANT, value=(_PADDING,) * 3))
    return image, Placement((size[0] / width, size[1] / height), (float(offset[0]), float(offset[1])))


def to_tensor(image: Image, spec: InputSpec) -> NDArray[Any]:
    """Batch of one, in the layout and dtype of the input.

    Parameters
    ----------
    image
        uint8 ``(height, width)`` or ``(height, width, 3)`` BGR, of the input's size.

    Returns
    -------
    ``(1, C, H, W)`` or ``(1, H, W, C)``, uint8 or float32, contiguous.
    """
    if spec.colour == "grey":
        tensor = image[None, None] if spec.layout == "NCHW" else image[None, :, :, None]
    else:
        if spec.colour == "rgb":
            image = image[:, :, ::-1]
        tensor = image.transpose(2, 0, 1)[None] if spec.layout == "NCHW" else image[None]
    if spec.dtype == "uint8":
        return np.ascontiguousarray(tensor)
    shape = (1, -1, 1, 1) if spec.layout == "NCHW" else (1, 1, 1, -1)
    mean = np.asarray(spec.mean, np.float32).reshape(shape)
    std = np.asarray(spec.std, np.float32).reshape(shape)
    return np.ascontiguousarray((tensor * np.float32(spec.scale) - mean) / std)
