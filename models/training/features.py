"""Features of images for training: decode, resize and run the backbone, as the finished package does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.align_spec import AlignSpec
from models.aligner import Aligner
from models.frame_pixels import FramePixels, PreparedTile, frame_pixels
from models.image_folder import read_image_file
from models.input_spec import InputSpec
from models.regions import inspected_tiles
from models.roi_spec import RoiSpec
from models.runtime import make_session
from models.sample_format import PLAIN, SampleFormat
from models.tile_spec import TileSpec
from models.training.alignment import TrainingAlignment
from models.training.graphs import IMAGE, feature_graph, pooled_graph
from models.training.recipe import Colour, Recipe

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class InspectedPart:
    """Part of each image that is learned from, and the form of its samples, as in a manifest."""

    roi: RoiSpec | None = None
    tiles: TileSpec | None = None
    samples: SampleFormat = PLAIN


#: Distance, in places of the recipe of pixels, up to which pixels count for a place.
_NEAR = 2.0
#: All of each image.
WHOLE = InspectedPart()


def input_spec(recipe: Recipe, colour: Colour, part: InspectedPart, align: AlignSpec | None = None) -> InputSpec:
    """Return the description of a recipe's input for the manifest."""
    return InputSpec(
        name=IMAGE, width=recipe.size, height=recipe.size, colour=colour, dtype="uint8", roi=part.roi,
        tiles=part.tiles, bit_depth=part.samples.bit_depth, alignment=part.samples.alignment,
        window=part.samples.window, bayer=part.samples.bayer, align=align,
    )  # fmt: skip


def read_image(path: Path, spec: InputSpec, aligner: Aligner | None = None) -> FramePixels:
    """Read an image as the worker does.

    Raises
    ------
    ImageError
        If the worker would refuse it.
    OSError
        If the file cannot be read.
    """
    with frame_pixels(read_image_file(path), spec, aligner=aligner) as seen:
        # A cut that keeps the whole frame in memory is copied.
        return replace(seen, pixels=np.ascontiguousarray(seen.pixels))


class FeatureExtractor:
    """Network with the features of one recipe. Thread-safe.

    Parameters
    ----------
    alignment
        TrainingAlignment of the images; recipes of the backbone have none.
    """

    def __init__(
        self, recipe: Recipe, colour: Colour, part: InspectedPart = WHOLE, alignment: TrainingAlignment | None = None
    ) -> None:
        self.recipe, self.colour, self.alignment = recipe, colour, alignment
        self.spec = input_spec(recipe, colour, part, None if alignment is None else alignment.spec)
        self._session = make_session(feature_graph(recipe, colour).SerializeToString(), 1)

    def read(self, path: Path) -> FramePixels:
        """Read an image as the worker does, see `read_image`; an image that cannot be aligned has a ``fault``."""
        return read_image(path, self.spec, None if self.alignment is None else self.alignment.aligner)

    def features(self, image: FramePixels, chosen: Sequence[int] | None = None) -> NDArray[np.float16]:
        """Return the features of an image, ``(tiles, places, channels)`` float16; without tiles, there is one.

        Parameters
        ----------
        chosen
            Numbers of the tiles; None: all.
        """
        tiles = inspected_tiles(image.region, self.spec)
        numbers = range(len(tiles)) if chosen is None else chosen
        return np.stack([self.tile_features(image.tile(tiles[number], self.spec)) for number in numbers])

    def shown(self, image: FramePixels) -> NDArray[np.bool_]:
        """Return which places of an image, ``(places,)``, lie in the frame with all pixels that count for them."""
        if image.placement is None:
            return np.ones(self.recipe.places, bool)
        return image.placement.shown_cells(image.region, self.recipe.grid, margin=_NEAR).ravel()

    def tile_features(self, tile: PreparedTile) -> NDArray[np.float16]:
        """Return the features of a tile, ``(places, channels)`` float16."""
        [found] = self._session.run(None, {IMAGE: tile.tensor})
        return np.asarray(found[:, 0], np.float16)


class PooledExtractor:
    """Backbone with the features of a whole image, for the input of a recipe. Thread-safe."""

    def __init__(self, recipe: Recipe, colour: Colour, spec: InputSpec) -> None:
        self.spec = spec
        self._session = make_session(pooled_graph(recipe, colour).SerializeToString(), 1)

    def features(self, image: FramePixels) -> NDArray[np.float32]:
        """Return the features of an image, ``(tiles, features)`` float32; without tiles, there is one."""
        rows = [
            self._session.run(None, {IMAGE: image.tile(tile, self.spec).tensor})[0][0]
            for tile in inspected_tiles(image.region, self.spec)
        ]
        return np.asarray(rows, np.float32)


def in_threads(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield the result of each item in order, with several items in work; at most a few results wait.

    Examples
    --------
    >>> list(in_threads(lambda number: number**2, range(4), 2))
    [0, 1, 4, 9]
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
