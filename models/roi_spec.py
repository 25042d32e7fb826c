"""Region of interest of a frame, as a manifest states it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from models.manifest_block import ManifestBlock

#: Position or size in frame pixels.
_Pixels = Annotated[int, Field(ge=0, le=1_000_000)]
_Side = Annotated[int, Field(ge=1, le=1_000_000)]
_Point = tuple[_Pixels, _Pixels]
_Rectangle = tuple[int, int, int, int]


class RoiSpec(ManifestBlock):
    """Region of interest, in frame pixels: a rectangle ``box``, or a ``polygon``.

    The pixels outside of it have no effect on a decision. A polygon is inspected as the rectangle around it; the other
    pixels of this rectangle get the grey value ``pad``. Pixels on its edge belong to the region.

    Examples
    --------
    >>> RoiSpec(polygon=((10, 10), (29, 10), (10, 49))).rectangle
    (10, 10, 20, 40)
    """

    box: tuple[_Pixels, _Pixels, _Side, _Side] | None = None
    polygon: tuple[_Point, ...] | None = Field(default=None, min_length=3, max_length=64, validate_default=True)

    @field_validator("polygon")
    @classmethod
    def _is_an_area(cls, value: tuple[_Point, ...] | None, info: ValidationInfo) -> tuple[_Point, ...] | None:
        if "box" in info.data and (value is None) == (info.data["box"] is None):
            raise ValueError("a region of interest is either a box or a polygon")
        if value is not None and _crosses_itself(value):
            raise ValueError("the edges of the polygon cross or touch each other: list its corners in order")
        if value is not None and _doubled_area(value) == 0:
            raise ValueError("the polygon has no area")
        return value

    @property
    def rectangle(self) -> _Rectangle:
        """The box, or the box around the polygon: x, y, width, height."""
        if self.box is not None:
            return self.box
        xs, ys = zip(*(self.polygon or ()), strict=True)
        return min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1


def _doubled_area(corners: Sequence[_Point]) -> int:
    following = [*corners[1:], corners[0]]
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(corners, following, strict=True)))


def _crosses_itself(corners: Sequence[_Point]) -> bool:
    """Return True if two edges that are not neighbours share a point, or if a corner is there twice."""
    count = len(corners)
    if len(set(corners)) < count:
        return True
    edges = [(corners[number], corners[(number + 1) % count]) for number in range(count)]
    return any(
        _share_a_point(edges[first], edges[second])
        for first in range(count)
        for second in range(first + 2, count)
        if (second + 1) % count != first
    )


def _share_a_point(first: tuple[_Point, _Point], second: tuple[_Point, _Point]) -> bool:
    (a, b), (c, d) = first, second
    sides = _side(a, b, c), _side(a, b, d), _side(c, d, a), _side(c, d, b)
    if sides[0] * sides[1] < 0 and sides[2] * sides[3] < 0:
        return True
    return any(
        side == 0 and min(p[0], q[0]) <= r[0] <= max(p[0], q[0]) and min(p[1], q[1]) <= r[1] <= max(p[1], q[1])
        for side, (p, q, r) in zip(sides, ((a, b, c), (a, b, d), (c, d, a), (c, d, b)), strict=True)
    )


def _side(a: _Point, b: _Point, c: _Point) -> int:
    turn = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return (turn > 0) - (turn < 0)
