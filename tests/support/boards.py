"""Pictures of made-up circuit boards, which lie a little elsewhere in each picture."""

from __future__ import annotations

import cv2
import numpy as np

from models.placement import Placement

#: Width and height of a picture.
BOARD_WH = (480, 320)
_EDGE = 30


def board(
    number: int = 0,
    *,
    layout: int = 0,
    shift: tuple[float, float] = (0.0, 0.0),
    degrees: float = 0.0,
    missing: bool = False,
    wh: tuple[int, int] = BOARD_WH,
) -> np.ndarray:
    """Return a board, ``(H, W, 3)`` BGR uint8.

    Parameters
    ----------
    number
        Seed of noise and light.
    layout
        Seed of tracks, pads and chips.
    shift, degrees
        Way and turn of the board, about its middle.
    missing
        True: a hole of 6 pixels was not drilled.
    """
    rng, (width, height) = np.random.default_rng((layout, 1)), wh
    image = np.full((height + 2 * _EDGE, width + 2 * _EDGE, 3), (45, 95, 30), np.uint8)
    pads = rng.integers((20, 20), (width + 40, height + 40), (46, 2))
    for (x, y), (to_x, to_y) in zip(pads[:-1:2], pads[1::2], strict=True):
        corner = (int(to_x), int(y))
        cv2.polylines(image, [np.array([(x, y), corner, (to_x, to_y)], np.int32)], False, (60, 140, 60), 4)
    for x, y in rng.integers((40, 40), (width - 40, height - 20), (5, 2)).tolist():
        cv2.rectangle(image, (x, y), (x + 50, y + 34), (40, 40, 38), -1)
    drilled = pads.tolist()
    for x, y in drilled:
        cv2.circle(image, (x, y), 7, (120, 190, 215), -1, cv2.LINE_AA)
    for x, y in drilled[:-1] if missing else drilled:
        cv2.circle(image, (x, y), 3, (15, 18, 15), -1, cv2.LINE_AA)
    matrix = placement_of(shift, degrees, wh).matrix
    matrix[:, 2] -= matrix[:, :2] @ (_EDGE, _EDGE)
    moved = cv2.warpAffine(image, matrix, wh, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    rng = np.random.default_rng((number, 2))
    lit = moved * rng.uniform(0.95, 1.05) + rng.normal(0, 3, moved.shape)
    return np.clip(lit, 0, 255).astype(np.uint8)


def placement_of(shift: tuple[float, float], degrees: float, wh: tuple[int, int] = BOARD_WH) -> Placement:
    """Return the placement of a board that was shifted and turned."""
    matrix = cv2.getRotationMatrix2D((wh[0] / 2, wh[1] / 2), degrees, 1.0)
    return Placement(
        float(matrix[0, 0]), float(matrix[1, 0]), float(matrix[0, 2] + shift[0]), float(matrix[1, 2] + shift[1]), wh
    )


def moved_board(
    number: int, *, missing: bool = False, layout: int = 0, way: float = 4.0, turn: float = 0.5
) -> np.ndarray:
    """Return a board that is shifted by up to ``way`` pixels and turned by up to ``turn`` degrees."""
    rng = np.random.default_rng((number, 3))
    x, y, degrees = rng.uniform((-way, -way, -turn), (way, way, turn)).tolist()
    return board(number, layout=layout, shift=(x, y), degrees=degrees, missing=missing)
