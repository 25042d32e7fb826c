"""Recipe of an anomaly model: what `inspection train` compares with good parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.training.products import PERCENTILE
from models.training.standardisation import Standardisation

Colour = Literal["grey", "rgb"]
#: Channels of the maps of the backbone, and the size of their cells in pixels of the input.
CHANNELS = {"s2": 40, "s3": 80, "s4": 112, "s5": 192, "last": 1280}
STRIDES = {"s2": 8, "s3": 16, "s4": 16, "s5": 32, "last": 32}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Recipe of an anomaly model.

    Parameters
    ----------
    name
        Name for people.
    size
        Width and height of the input in pixels, a multiple of 32.
    taps
        Maps of the backbone that are joined. Without any, the pixels themselves are compared, of images that are
        aligned to one of them, see `models.training.pixel_graph`.
    grid
        Places on each side of the map; 1: the whole image is one place.
    channels
        Channels that are kept of all joined ones. They are drawn with a fixed seed. Of pixels: their colours.
    is_alike
        True if all places share one Gaussian, for surfaces that look the same everywhere.
    pool
        Places along each side of a cell of the finished map; the worst one is the value of the cell.
    widths
        Places along each side of the squares over which covariances are averaged. The fit takes the width with which
        it is most sensitive. Small components lie a little elsewhere on each part: a place beside an edge seldom shows
        the edge, and its own covariance is too small then.
    standardisation
        Standardisation of each image, if the brightness of good images varies; None: the pixels are taken as they are.
    """

    name: str
    size: int
    taps: tuple[str, ...]
    grid: int
    channels: int
    is_alike: bool = False
    pool: int = 1
    widths: tuple[int, ...] = (1,)
    standardisation: Standardisation | None = None

    @property
    def is_of_pixels(self) -> bool:
        """True if pixels are compared, not features of the backbone."""
        return not self.taps

    @property
    def places(self) -> int:
        """Number of places."""
        return self.grid**2

    @property
    def cells(self) -> int:
        """Cells along each side of the finished map."""
        return self.grid // self.pool

    @property
    def kept(self) -> int:
        """Number of channels of a place."""
        return self.channels if self.is_of_pixels else min(self.channels, sum(CHANNELS[tap] for tap in self.taps))

    @property
    def percentile(self) -> float:
        """Percentile of the map that is the score: of many small cells the worst one, or no small defect counts."""
        return 100.0 if self.is_of_pixels else PERCENTILE

    @property
    def least_deviation(self) -> float:
        """Standard deviation that each place has at least: of pixels, one level of 255."""
        return 1.0 if self.is_of_pixels else 0.0

    def drawn(self) -> NDArray[np.int64]:
        """Return the indices of the kept channels of the backbone, in order."""
        every = sum(CHANNELS[tap] for tap in self.taps)
        return np.sort(np.random.default_rng(1).choice(every, self.kept, replace=False))
