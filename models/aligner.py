"""Alignment of frames: a part that lies a little elsewhere in each frame is laid over a picture of a good part.

Small squares of the picture, at corners all over it, are searched in the frame, each within ``reach``, by normalised
cross-correlation to a fraction of a pixel. Shift, turn and scale follow from the places where they are found (RANSAC:
M. Fischler and R. Bolles, 1981). Squares that a defect covers disagree with the others and do not count. If fewer than
half of the squares agree, the frame does not match. The same pixels have the same placement, and the time is bounded:
the search is on a picture of a bounded size.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.opencv import cv2
from models.placement import Placement
from models.regions import Region
from models.sample_depth import Image

#: Longest side, in pixels, of the picture that squares are searched on.
_SEARCHED = 800
#: Columns and rows of cells, each with one square; half the side of a square.
_CELLS, _HALF = (10, 8), 16
#: Strength of a corner, as a share of the strongest one, below which a cell has no square; fewest squares.
_LEAST_CORNER, _FEWEST = 0.01, 12
#: Correlation below which a square is not found; share of the squares that must agree.
_LEAST_CORRELATION, _LEAST_SHARE = 0.6, 0.5
#: Distance, in searched pixels, up to which a square agrees.
_AGREES = 1.0
#: Largest turn in degrees, and change of scale, of a part that matches.
_MOST_DEGREES, _MOST_SCALE = 5.0, 0.03
#: Side, in pixels, of the cells whose light is compared with the picture; the same, for the deviation of its weight,
#: as a fraction of the longer side.
_LIGHT_CELL, _LIGHT_SHARE = 8, 16
#: Pixels whose light is computed at once, to save memory.
_BAND_PIXELS = 2**18
#: OpenCV's warp takes no longer side.
_MOST_SIDE = 32_000


class AlignError(ValueError):
    """Picture that frames cannot be aligned to; the message says why."""


class Aligner:
    """Search for a picture of a good part in frames. Thread-safe.

    Parameters
    ----------
    picture
        ``(H, W)`` or ``(H, W, 3)`` uint8: region of interest of a good part, at full scale.
    reach
        Longest way, in pixels, by which a place of the part may lie elsewhere.
    fills
        True: what lies outside of a frame has the pixels of the picture. Its colours are then those of the frames.

    Raises
    ------
    AlignError
        If the picture is too narrow or too large, or has too few corners.
    """

    def __init__(self, picture: Image, reach: int, *, fills: bool = False) -> None:
        height, width = picture.shape[:2]
        if max(width, height) > _MOST_SIDE:
            raise AlignError(f"a picture of {width}x{height} pixels is too large to be aligned")
        self.size_wh, self.reach = (width, height), reach
        self._fill = picture if fills else None
        self._factor = max(1, round(max(width, height) / _SEARCHED))
        self._steps = -(-reach // self._factor)
        if min(width, height) < 2 * _HALF * self._factor:
            raise AlignError(f"a picture of {width}x{height} pixels is too narrow to be aligned")
        searched = self._searched(picture)
        self._corners = _corners(searched, _HALF + self._steps + 1)
        if len(self._corners) < _FEWEST:
            raise AlignError(
                f"the picture has {len(self._corners)} corners at which it can be found again; {_FEWEST} are needed"
            )
        self._squares = [
            np.ascontiguousarray(searched[y - _HALF : y + _HALF + 1, x - _HALF : x + _HALF + 1])
            for x, y in self._corners
        ]

    def place(self, frame: Image, region: Region) -> Placement | str:
        """Return the placement of the part in a frame; if the frame does not match, a sentence that says why.

        Parameters
        ----------
        frame
            ``(H, W)`` or ``(H, W, 3)`` uint8 of the whole frame, at full scale.
        region
            Place of the picture in an aligned frame.
        """
        if region.wh != self.size_wh:
            return "the image has another size than the picture that it is aligned to: {}x{} instead of {}x{}".format(
                *region.wh, *self.size_wh
            )
        cut = frame[region.y : region.y + region.height, region.x : region.x + region.width]
        places, found = self._find(self._searched(cut))
        count = len(self._corners)
        matrix, agree = None, 0
        if len(found) >= max(3, _LEAST_SHARE * count):
            matrix, inliers = cv2.estimateAffinePartial2D(places, found, ransacReprojThreshold=_AGREES)
            agree = 0 if matrix is None else int(inliers.sum())
        if agree < _LEAST_SHARE * count:
            return (
                f"the image does not match the picture that it is aligned to: {agree or len(found)} of {count} places "
                "agree; the part is another one, lies elsewhere, or is turned"
            )
        placement = self._placement(np.asarray(matrix, np.float64), region, (frame.shape[1], frame.shape[0]))
        if abs(placement.degrees) > _MOST_DEGREES or abs(placement.scale - 1) > _MOST_SCALE:
            return (
                "the image does not match the picture that it is aligned to: it is turned by "
                f"{placement.degrees:.1f} degrees, at a scale of {placement.scale:.3f}"
            )
        return placement

    def align(self, frame: Image, region: Region, placement: Placement) -> Image:
        """Return the pixels of the region in the aligned frame.

        Beyond the edge of the frame they are those of the edge or of the picture.
        """
        corner = np.array([[1, 0, region.x], [0, 1, region.y], [0, 0, 1]], np.float64)
        matrix = placement.matrix @ corner
        moved: Any = cv2.warpAffine(
            frame, matrix, region.wh, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        if self._fill is not None and not placement.shows(region):
            inside = cv2.warpAffine(
                np.ones(frame.shape[:2], np.uint8), matrix, region.wh, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
            )
            _fill_outside(moved, self._fill, np.asarray(inside, np.uint8))
        return np.asarray(moved, np.uint8)

    def _searched(self, pixels: Image) -> Image:
        grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        if self._factor == 1:
            return np.ascontiguousarray(grey)
        height, width = (side // self._factor * self._factor for side in grey.shape)
        reduced_wh = (width // self._factor, height // self._factor)
        return np.asarray(cv2.resize(grey[:height, :width], reduced_wh, interpolation=cv2.INTER_AREA), np.uint8)

    def _find(self, searched: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the corners of the squares that are found, and the points where they are, in searched pixels."""
        places, found, reach = [], [], self._steps
        around = _HALF + reach
        for (x, y), square in zip(self._corners, self._squares, strict=True):
            window = searched[y - around : y + around + 1, x - around : x + around + 1]
            likeness = cv2.matchTemplate(window, square, cv2.TM_CCOEFF_NORMED)
            row, column = divmod(int(likeness.argmax()), likeness.shape[1])
            # A best place at the edge of the search is not the top of a hill.
            if likeness[row, column] < _LEAST_CORRELATION or not (0 < row < 2 * reach and 0 < column < 2 * reach):
                continue
            places.append((x, y))
            found.append(
                (
                    x + column - reach + _top(*likeness[row, column - 1 : column + 2].tolist()),
                    y + row - reach + _top(*likeness[row - 1 : row + 2, column].tolist()),
                )
            )
        return np.array(places, np.float32), np.array(found, np.float32)

    def _placement(self, matrix: NDArray[np.float64], region: Region, frame_wh: tuple[int, int]) -> Placement:
        """Return the placement in frame pixels of a matrix in searched ones."""
        a, b = float(matrix[0, 0]), float(matrix[1, 0])
        turn = np.array([[a, -b], [b, a]])
        # Centre of the first searched pixel, in frame pixels.
        first = np.array(region[:2]) + (self._factor - 1) / 2
        dx, dy = (self._factor * matrix[:, 2] + first - turn @ first).tolist()
        return Placement(a, b, dx, dy, frame_wh)


def _fill_outside(pixels: Image, picture: Image, inside: NDArray[np.uint8]) -> None:
    """Give pixels where ``inside`` is 0 those of a picture, as bright as the pixels beside them are to the picture."""
    height, width = pixels.shape[:2]
    small_wh = (max(1, width // _LIGHT_CELL), max(1, height // _LIGHT_CELL))
    is_shown = cv2.resize(255 * inside, small_wh, interpolation=cv2.INTER_AREA) == 255
    means = []
    for each in (pixels, picture):
        cells = cv2.resize(each, small_wh, interpolation=cv2.INTER_AREA).astype(np.float32)
        cells[~is_shown] = 0.0
        means.append(cv2.GaussianBlur(cells, (0, 0), max(small_wh) / _LIGHT_SHARE) + 1e-3)
    gains = means[0] / means[1]
    across, down = small_wh[0] / width, small_wh[1] / height
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = slice(top, min(top + rows, height))
        if inside[band].all():
            continue
        to_cells = np.array([[across, 0, 0.5 * across - 0.5], [0, down, (top + 0.5) * down - 0.5]])
        gain = cv2.warpAffine(
            gains, to_cells, (width, band.stop - top), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        cv2.copyTo(cv2.multiply(picture[band], gain, dtype=cv2.CV_8U), 1 - inside[band], pixels[band])


def _corners(searched: Image, margin: int) -> list[tuple[int, int]]:
    """Return the strongest corner of each cell, as x and y, at some distance from the edge."""
    height, width = searched.shape
    if min(width, height) <= 2 * margin + 1:
        return []
    smooth = cv2.GaussianBlur(searched, (0, 0), 1.0)
    strength = cv2.cornerMinEigenVal(smooth, 5)[margin : height - margin, margin : width - margin]
    least = max(_LEAST_CORNER * float(strength.max()), 1e-9)
    found = []
    rows = np.linspace(0, strength.shape[0], _CELLS[1] + 1).astype(int).tolist()
    columns = np.linspace(0, strength.shape[1], _CELLS[0] + 1).astype(int).tolist()
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            cell = strength[top:bottom, left:right]
            if cell.size and cell.max() >= least:
                y, x = divmod(int(cell.argmax()), cell.shape[1])
                found.append((margin + left + x, margin + top + y))
    return found


def _top(before: float, here: float, after: float) -> float:
    """Return the place of the top of the parabola through three neighbouring values, as a distance from the middle.

    Examples
    --------
    >>> round(_top(0.5, 0.9, 0.7), 3), round(_top(0.7, 0.9, 0.5), 3)
    (0.167, -0.167)
    """
    curvature = before - 2 * here + after
    if math.isclose(curvature, 0.0, abs_tol=1e-9):
        return 0.0
    return min(max(0.5 * (before - after) / curvature, -0.5), 0.5)
