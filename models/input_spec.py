"""Content of the block ``input`` of a manifest: the tensor of a model, and the part of a frame in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

#: Most tiles of a frame: they bound the time that one frame takes.
MAX_TILES = 2048
#: Position or size in frame pixels.
_Pixels = Annotated[int, Field(ge=0, le=1_000_000)]
_Side = Annotated[int, Field(ge=1, le=1_000_000)]
_Point = tuple[_Pixels, _Pixels]
_Rectangle = tuple[int, int, int, int]


class ManifestBlock(BaseModel):
    """Base of all blocks of a manifest: frozen, strict, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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


class InputSpec(ManifestBlock):
    """Tensor that the model takes: ``(pixel * scale - mean) / std``, pixels in 0..255.

    A ``uint8`` input takes the pixels as they are. ``letterbox`` keeps the aspect ratio and fills with ``pad``.
    ``bit_depth`` is the depth of cameras whose 16-bit files do not state it, see `models.sample_depth`. ``roi`` is the
    part of the frame that is inspected; None: all of it.
    """

    name: str = Field(min_length=1)
    width: int = Field(ge=1, le=8192)
    height: int = Field(ge=1, le=8192)
    colour: Literal["grey", "rgb", "bgr"]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["uint8", "float32"]
    scale: float = Field(default=1.0, gt=0)
    mean: tuple[float, ...] = ()
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    resize: Literal["stretch", "letterbox"] = "stretch"
    pad: int = Field(default=114, ge=0, le=255)
    bit_depth: int | None = Field(default=None, ge=9, le=16)
    roi: RoiSpec | None = None

    @field_validator("scale", "mean", "std")
    @classmethod
    def _fits(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("dtype") == "uint8" and value not in (1.0, ()):
            raise ValueError("a uint8 input takes the pixels as they are: leave scale, mean and std out")
        channels = 1 if info.data.get("colour") == "grey" else 3
        if isinstance(value, tuple) and len(value) not in (0, channels):
            raise ValueError(f"one number for each of the {channels} channels")
        return value

    @property
    def channels(self) -> int:
        """Number of channels: 1 for grey, else 3."""
        return 1 if self.colour == "grey" else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor of one image."""
        if self.layout == "NCHW":
            return (1, self.channels, self.height, self.width)
        return (1, self.height, self.width, self.channels)

    def described(self) -> dict[str, Any]:
        """Return the fields for the hash of a recipe.

        A field that older versions did not have is left out while it has its default: the hash of an older package
        stays the same.
        """
        fields = self.model_dump(mode="json")
        return {name: value for name, value in fields.items() if value != _NEWER.get(name, _MISSING)}


_MISSING = object()
#: Field that the first version did not have -> its default, as in JSON.
_NEWER: dict[str, Any] = {"bit_depth": None, "roi": None}


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
