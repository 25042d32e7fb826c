"""Placement of a part in a frame, relative to the picture that frames are aligned to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.opencv import cv2
from models.regions import Region

_Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Placement:
    """Shift, turn and scale that lead from the aligned frame to the frame, both in frame pixels.

    The point x, y of the aligned frame lies at ``(a * x - b * y + dx, b * x + a * y + dy)`` in the frame.
    """

    a: float
    b: float
    dx: float
    dy: float
    frame_wh: tuple[int, int]

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The same as a ``(2, 3)`` matrix."""
        return np.array([[self.a, -self.b, self.dx], [self.b, self.a, self.dy]])

    @property
    def degrees(self) -> float:
        """Turn in degrees."""
        return math.degrees(math.atan2(self.b, self.a))

    @property
    def scale(self) -> float:
        """Scale."""
        return math.hypot(self.a, self.b)

    def shows(self, region: Region) -> bool:
        """Return True if all of a region of the aligned frame lies in the frame.

        Examples
        --------
        >>> Placement(1.0, 0.0, 5.0, -3.0, (100, 80)).shows(Region(0, 10, 95, 60))
        True
        >>> Placement(1.0, 0.0, 5.0, -3.0, (100, 80)).shows(Region(0, 0, 95, 60))
        False
        """
        return bool(self.shown_cells(region, 1, margin=0.5).all())

    def shown_cells(self, region: Region, cells: int, *, margin: float) -> NDArray[np.bool_]:
        """Return which of the ``cells`` x ``cells`` parts of a region of the aligned frame lie in the frame.

        Parameters
        ----------
        margin
            Distance from the middle of a part, in parts, up to which all of the region must lie in the frame, but for
            half a pixel.

        Examples
        --------
        >>> Placement(1.0, 0.0, 5.0, 0.0, (100, 80)).shown_cells(Region(0, 0, 100, 80), 4, margin=0.5)[0].tolist()
        [True, True, True, False]
        """
        middles = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(region.x + middles * region.width, region.y + middles * region.height)
        found = np.ones((cells, cells), bool)
        for side_x, side_y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            corner_x = np.clip(x + side_x * margin * region.width / cells, region.x, region.x + region.width)
            corner_y = np.clip(y + side_y * margin * region.height / cells, region.y, region.y + region.height)
            placed_x = self.a * corner_x - self.b * corner_y + self.dx
            placed_y = self.b * corner_x + self.a * corner_y + self.dy
            width, height = self.frame_wh
            found &= (placed_x >= -0.5) & (placed_x <= width + 0.5) & (placed_y >= -0.5) & (placed_y <= height + 0.5)
        return found

    def box(self, box_xywh: _Box) -> _Box:
        """Return the upright box in the frame around a box in the aligned frame, cut to the frame.

        Examples
        --------
        >>> Placement(1.0, 0.0, 5.0, -3.0, (100, 80)).box((10.0, 20.0, 4.0, 4.0))
        (15.0, 17.0, 4.0, 4.0)
        >>> Placement(1.0, 0.0, 5.0, -3.0, (100, 80)).box((98.0, 1.0, 4.0, 4.0))
        (100.0, 0.0, 0.0, 2.0)
        """
        x, y, width, height = box_xywh
        corners = np.array([(x, y, 1), (x + width, y, 1), (x, y + height, 1), (x + width, y + height, 1)])
        placed = np.clip(corners @ self.matrix.T, 0, self.frame_wh)
        (left, top), (right, bottom) = placed.min(axis=0).tolist(), placed.max(axis=0).tolist()
        return left, top, right - left, bottom - top

    def cells(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the map of the frame of a map ``(rows, columns)`` of the aligned frame, 0 where it has none."""
        rows, columns = values.shape
        pixels = np.diag([self.frame_wh[0] / columns, self.frame_wh[1] / rows, 1.0])
        # OpenCV's points are the centres of cells.
        centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        whole = np.vstack([self.matrix, [0, 0, 1]])
        to_cells = np.linalg.inv(centre) @ np.linalg.inv(pixels) @ whole @ pixels @ centre
        moved: Any = cv2.warpAffine(values, to_cells[:2], (columns, rows), flags=cv2.INTER_LINEAR)
        return np.asarray(moved, np.float32).reshape(rows, columns)
