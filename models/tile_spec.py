"""Tiles that a frame is cut into, as a manifest states them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from models.manifest_block import ManifestBlock

#: Most tiles of a frame: they bound the time that one frame takes.
MAX_TILES = 2048
_Count = Annotated[int, Field(ge=1, le=MAX_TILES)]
_Side = Annotated[int, Field(ge=1, le=1_000_000)]
#: Start and length of a tile along one side.
Span = tuple[int, int]


class TileSpec(ManifestBlock):
    """Tiles: a ``grid`` of columns and rows, or a ``size`` in frame pixels.

    All tiles of a frame have the same size. Neighbours share ``overlap`` of their side, or, with a ``size``, at least
    that much. A defect on the border of two tiles is whole in one of them if the overlap is at least as wide.

    Examples
    --------
    >>> TileSpec(grid=(2, 1), overlap=0.5).spans((300, 100))
    ([(0, 200), (100, 200)], [(0, 100)])
    >>> TileSpec(size=(100, 100)).spans((250, 100))
    ([(0, 100), (75, 100), (150, 100)], [(0, 100)])
    """

    grid: tuple[_Count, _Count] | None = None
    size: tuple[_Side, _Side] | None = Field(default=None, validate_default=True)
    overlap: float = Field(default=0.0, ge=0, lt=1)

    @field_validator("grid")
    @classmethod
    def _is_bounded(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and value[0] * value[1] > MAX_TILES:
            raise ValueError(f"{value[0]}x{value[1]} are more than {MAX_TILES} tiles")
        return value

    @field_validator("size")
    @classmethod
    def _is_one(cls, value: tuple[int, int] | None, info: ValidationInfo) -> tuple[int, int] | None:
        if "grid" in info.data and (value is None) == (info.data["grid"] is None):
            raise ValueError("tiles have either a grid or a size")
        return value

    def spans(self, region_wh: tuple[int, int]) -> tuple[list[Span], list[Span]]:
        """Return start and length of all columns, and of all rows, of a region.

        Raises
        ------
        ValueError
            If the tiles do not fit the region, or are too many.
        """
        (width, height), wanted = region_wh, self.grid or self.size or (1, 1)
        if wanted[0] > width or wanted[1] > height:
            kind = "a grid of {}x{} tiles does" if self.size is None else "tiles of {}x{} pixels do"
            raise ValueError(f"{kind.format(*wanted)} not fit {width}x{height} pixels")
        cut = self._by_count if self.size is None else self._by_size
        columns, rows = cut(width, wanted[0]), cut(height, wanted[1])
        if columns[0] * rows[0] > MAX_TILES:
            raise ValueError(
                f"{width}x{height} pixels make {columns[0]}x{rows[0]} tiles, more than {MAX_TILES}: larger tiles, or "
                "less overlap"
            )
        return _spread(width, *columns), _spread(height, *rows)

    def _by_count(self, length: int, count: int) -> tuple[int, int]:
        """Return the number of tiles and their side, for a number of tiles."""
        side = length / (count - (count - 1) * self.overlap)
        return count, min(length, int(-(-side // 1)))

    def _by_size(self, length: int, side: int) -> tuple[int, int]:
        """Return the number of tiles and their side, for a side."""
        stride = max(1, round(side * (1 - self.overlap)))
        return 1 + -(-(length - side) // stride), side


def _spread(length: int, count: int, side: int) -> list[Span]:
    """Return evenly spread tiles; the first begins at the beginning, and the last ends at the end."""
    gaps = max(1, count - 1)
    return [((2 * number * (length - side) + gaps) // (2 * gaps), side) for number in range(count)]
