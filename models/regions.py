"""Parts of a frame that are inspected, in frame pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.errors import ImageError
from models.input_spec import InputSpec
from models.opencv import cv2
from models.roi_spec import RoiSpec
from models.sample_depth import Image
from models.sample_format import LEAST_MOSAIC

#: Rows of a mask in memory at the same time.
_MASK_ROWS = 256


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


def tiles_of(region: Region, spec: InputSpec) -> list[Region]:
    """Return the parts of a region that the network sees one by one, row by row; without tiles, the region itself.

    Raises
    ------
    ImageError
        ``tiles-do-not-fit``.

    Examples
    --------
    >>> from models.tile_spec import TileSpec
    >>> spec = InputSpec(name="x", width=8, height=8, colour="grey", dtype="uint8", tiles=TileSpec(grid=(2, 1)))
    >>> [tuple(tile) for tile in tiles_of(Region(10, 20, 60, 40), spec)]
    [(10, 20, 30, 40), (40, 20, 30, 40)]
    """
    if spec.tiles is None:
        return [region]
    try:
        columns, rows = spec.tiles.spans(region.wh)
    except ValueError as error:
        raise ImageError(
            "tiles-do-not-fit", f"{error}: correct tiles in the manifest, or the size of the camera's images"
        ) from error
    return [Region(region.x + left, region.y + top, width, height) for top, height in rows for left, width in columns]


def least_frame_wh(spec: InputSpec) -> tuple[int, int]:
    """Return the width and height of the smallest frame that a model can inspect.

    Examples
    --------
    >>> spec = InputSpec(name="x", width=8, height=8, colour="grey", dtype="uint8", roi=RoiSpec(box=(10, 20, 30, 40)))
    >>> least_frame_wh(spec)
    (40, 60)
    """
    if spec.roi is not None:
        x, y, width, height = spec.roi.rectangle
        return x + width, y + height
    least = 1 if spec.bayer is None else LEAST_MOSAIC
    width, height = (1, 1) if spec.tiles is None else spec.tiles.grid or spec.tiles.size or (1, 1)
    return max(width, least), max(height, least)


def inspected_tiles(region: Region, spec: InputSpec) -> list[Region]:
    """Return the tiles of a region, without those that have no pixel of the polygon: nothing in them may decide.

    Raises
    ------
    ImageError
        ``tiles-do-not-fit``.
    """
    tiles, roi = tiles_of(region, spec), spec.roi
    return tiles if roi is None or roi.polygon is None else [tile for tile in tiles if _polygon_mask(tile, roi).any()]


def fill_outside(pixels: Image, region: Region, spec: InputSpec) -> Image:
    """Fill the pixels outside of the polygon of a region with ``pad``; without a polygon, leave them.

    Parameters
    ----------
    pixels
        Pixels of the region, which are changed: a copy would double the memory of a large frame.
    """
    if spec.roi is None or spec.roi.polygon is None:
        return pixels
    for top in range(0, region.height, _MASK_ROWS):
        strip = pixels[top : top + _MASK_ROWS]
        part = Region(region.x, region.y + top, region.width, len(strip))
        strip[_polygon_mask(part, spec.roi) == 0] = spec.pad
    return pixels


def _polygon_mask(part: Region, roi: RoiSpec) -> Image:
    """Return the mask of a polygon on a part of the frame, 0 outside."""
    mask = np.zeros((part.height, part.width), np.uint8)
    cv2.fillPoly(mask, [np.array(roi.polygon, np.int32) - np.array(part[:2], np.int32)], 255)
    return mask
