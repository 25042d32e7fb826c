"""Features of images for training: decode, resize and run the backbone, as the finished package does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.images import decode, image_header
from models.manifest import InputSpec
from models.preprocess import content_wh, to_tensor
from models.runtime import make_session
from models.sample_depth import Image
from models.training.graphs import IMAGE, Recipe, feature_graph, pooled_graph

Colour = Literal["grey", "rgb"]
T = TypeVar("T")
R = TypeVar("R")


def input_spec(recipe: Recipe, colour: Colour, bit_depth: int | None = None) -> InputSpec:
    """Return the description of a recipe's input for the manifest."""
    return InputSpec(
        name=IMAGE, width=recipe.size, height=recipe.size, colour=colour, dtype="uint8", bit_depth=bit_depth
    )


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Pixels ``(H, W)`` grey or ``(H, W, 3)`` BGR uint8, perhaps at a reduced scale, and the size of the file."""

    pixels: Image
    size_wh: tuple[int, int]


def read_image(path: Path, spec: InputSpec) -> DecodedImage:
    """Read an image as the worker does.

    Raises
    ------
    ImageError
        If the worker would refuse it.
    OSError
        If the file cannot be read.
    """
    data = path.read_bytes()
    header = image_header(data)
    size_wh = (header.width, header.height)
    needed_wh = content_wh(size_wh, spec)
    pixels = decode(data, colour=spec.colour != "grey", needed_wh=needed_wh, bit_depth=spec.bit_depth).pixels
    return DecodedImage(pixels, size_wh)


class FeatureExtractor:
    """Backbone with the features of one recipe. Thread-safe."""

    def __init__(self, recipe: Recipe, colour: Colour, bit_depth: int | None = None) -> None:
        self.recipe, self.colour, self.spec = recipe, colour, input_spec(recipe, colour, bit_depth)
        self._session = make_session(feature_graph(recipe, colour).SerializeToString(), 1)

    def features(self, image: DecodedImage) -> NDArray[np.float16]:
        """Return the features of an image, ``(places, channels)`` float16."""
        tensor, _, _ = to_tensor(image.pixels, image.size_wh, self.spec)
        [found] = self._session.run(None, {IMAGE: tensor})
        return np.asarray(found[:, 0], np.float16)


class PooledExtractor:
    """Backbone with the features of a whole image, for the input of a recipe. Thread-safe."""

    def __init__(self, recipe: Recipe, colour: Colour) -> None:
        self.spec = input_spec(recipe, colour)
        self._session = make_session(pooled_graph(recipe, colour).SerializeToString(), 1)

    def features(self, image: DecodedImage) -> NDArray[np.float32]:
        """Return the features of an image, ``(features,)`` float32."""
        tensor, _, _ = to_tensor(image.pixels, image.size_wh, self.spec)
        [found] = self._session.run(None, {IMAGE: tensor})
        return np.asarray(found[0], np.float32)


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
