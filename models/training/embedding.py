"""Embedding of whole images by the backbone that ships, for classifiers of other libraries such as scikit-learn.

A classifier that learned from these features becomes a package by `inspection model import --embedding lite0`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from models.runtime import make_session
from models.training.features import WHOLE, PooledExtractor, input_spec, read_image
from models.training.graphs import IMAGE, POOLED, POOLED_TAPS, pooled_graph
from models.training.recipe import CHANNELS, Colour, Recipe

#: Embeddings by name: the input of each.
EMBEDDINGS = {"lite0": Recipe("lite0", 224, POOLED_TAPS, 1, 1)}
FEATURES = POOLED
#: Numbers of an embedding.
FEATURE_COUNT = 2 * sum(CHANNELS[tap] for tap in POOLED_TAPS)


def embed(paths: Iterable[Path], colour: Colour = "grey", embedding: str = "lite0") -> NDArray[np.float32]:
    """Return the features of image files, ``(n, features)``: those that the finished package has for them.

    Raises
    ------
    ImageError
        If a worker would refuse an image.
    OSError
        If a file cannot be read.
    """
    recipe = EMBEDDINGS[embedding]
    extractor = PooledExtractor(recipe, colour, input_spec(recipe, colour, WHOLE))
    rows = [extractor.features(read_image(Path(path), extractor.spec)) for path in paths]
    return np.concatenate(rows) if rows else np.empty((0, FEATURE_COUNT), np.float32)


def embedding_graph(embedding: str, colour: Colour) -> onnx.ModelProto:
    """Return the graph from ``image``, ``(n, 1 or 3, size, size)`` uint8, to the features."""
    return pooled_graph(EMBEDDINGS[embedding], colour)


class Embedder:
    """Embedding of finished tensors."""

    def __init__(self, embedding: str, colour: Colour) -> None:
        self._session = make_session(embedding_graph(embedding, colour).SerializeToString(), 1)

    def features(self, tensor: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of a batch, ``(n, features)``."""
        [found] = self._session.run(None, {IMAGE: tensor})
        return np.asarray(found, np.float32)
