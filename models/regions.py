"""Part of a frame that is inspected, in frame pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.errors import ImageError
from models.input_spec import InputSpec
from models.opencv import cv2
from models.sample_depth import Image

#: Rows of a mask in memory at the same time.
_MASK_ROWS = 256
#: Fractional bits of the corners of a polygon on a reduced image.
_SHIFT = 4


class Region(NamedTuple):
    """Rectangle in frame pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def wh(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


def region_of(frame_wh: tuple[int, int], spec: InputSpec) -> Region:
    """Return the part of a frame that the manifest names; without a region of interest, the whole frame.

    Raises
    ------
    ImageError
        ``outside-frame`` if the frame does not contain it.

    Examples
    --------
    >>> region_of((640, 480), InputSpec(name="x", width=8, height=8, colour="grey", dtype="uint8"))
    Region(x=0, y=0, width=640, height=480)
    """
    if spec.roi is None:
        return Region(0, 0, *frame_wh)
    region = Region(*spec.roi.rectangle)
    if region.x + region.width > frame_wh[0] or region.y + region.height > frame_wh[1]:
        raise ImageError(
            "outside-frame",
            f"the region of interest {region.width}x{region.height} at {region.x},{region.y} leaves the frame of "
            f"{frame_wh[0]}x{frame_wh[1]} pixels: correct roi in the manifest, or the size of the camera's images",
        )
    return region


def least_frame_wh(spec: InputSpec) -> tuple[int, int]:
    """Return the width and height of the smallest frame that a model can inspect.

    Examples
    --------
    >>> spec = InputSpec(name="x", width=8, height=8, colour="grey", dtype="uint8", roi=RoiSpec(box=(10, 20, 30, 40)))
    >>> least_frame_wh(spec)
    (40, 60)
    """
    if spec.roi is None:
        return 1, 1
    x, y, width, height = spec.roi.rectangle
    return x + width, y + height


def fill_outside(pixels: Image, region: Region, spec: InputSpec, divisor: int) -> Image:
    """Fill the pixels outside of the polygon of a region with ``pad``; without a polygon, leave them.

    Parameters
    ----------
    pixels
        Pixels of the region, which are changed: a copy would double the memory of a large frame.
    divisor
        Number of frame pixels for each pixel along a side.
    """
    if spec.roi is None or spec.roi.polygon is None:
        return pixels
    # The centre of pixel p is p + 1/2, at both scales.
    corners = (np.array(spec.roi.polygon, np.float64) - region[:2] + 0.5) / divisor - 0.5
    points = np.rint(corners * (1 << _SHIFT)).astype(np.int32)
    for top in range(0, pixels.shape[0], _MASK_ROWS):
        strip = pixels[top : top + _MASK_ROWS]
        mask = np.zeros(strip.shape[:2], np.uint8)
        cv2.fillPoly(mask, [points - np.array((0, top << _SHIFT), np.int32)], 255, shift=_SHIFT)
        strip[mask == 0] = spec.pad
    return pixels
