"""Inspection of a frame that is cut into tiles: decoded once, one tile in the network at a time.

The memory is that of the decoded region and of one tensor, whatever the number of tiles.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.frame_pixels import frame_pixels
from models.inspection import Inspection
from models.judgement import NetworkOutput, conclude, embedding_in, interpret, run_network
from models.merge_tiles import TileFindings
from models.package import Model
from models.signals import CODES, signals


def inspect_tiles(
    image: bytes, models: Sequence[Model], sha256: str | None = None, size_wh: tuple[int, int] | None = None
) -> tuple[Inspection, ...]:
    """Inspect an image whose manifest states tiles, with models that share a network.

    Raises
    ------
    ImageError
        As `models.frame_pixels.frame_pixels`.
    """
    began = time.perf_counter()
    spec, infer_ms = models[0].manifest.input, 0.0
    measured, embeddings = SignalMeans(), EmbeddingMean()
    found = [TileFindings(model.manifest) for model in models]
    faults = [""] * len(models)
    with frame_pixels(image, spec, sha256, size_wh, models[0].aligner) as seen:
        for tile in seen.tiles(spec):
            measured.add(signals(tile.small))
            ran = NetworkOutput({}, seen.fault, 0.0) if seen.fault else run_network(models[0], tile.tensor)
            embeddings.add(embedding_in(ran.outputs))
            infer_ms += ran.infer_ms
            for number, model in enumerate(models):
                finding, fault = interpret(model, ran, tile.geometry)
                faults[number] = faults[number] or fault
                found[number].add(tile.region, finding)
            if any(faults):
                break  # one network: a fault of one model is one of all
        codes = {name: value for name, value in signals(seen.pixels).items() if name in CODES}
    waited_ms = seen.waited_s * 1000
    durations_ms = {"decode": (time.perf_counter() - began) * 1000 - waited_ms - infer_ms, "infer": infer_ms}
    return tuple(
        conclude(
            model, each.merged(), fault, measured.means() | codes, embeddings.mean(), durations_ms, waited_ms,
            seen.remarks,
        )
        for model, each, fault in zip(models, found, faults, strict=True)
    )  # fmt: skip


class SignalMeans:
    """Mean of each signal over the tiles. A mean of codes has no meaning: they are left out."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._count = 0

    def add(self, found: Mapping[str, float]) -> None:
        """Add the signals of a tile."""
        self._count += 1
        for name, value in found.items():
            if name not in CODES:
                self._sums[name] += value

    def means(self) -> dict[str, float]:
        """Return the means."""
        return {name: total / self._count for name, total in self._sums.items()}


class EmbeddingMean:
    """Mean of the embeddings of the tiles."""

    def __init__(self) -> None:
        self._sum: NDArray[np.float64] | None = None
        self._count = 0

    def add(self, embedding: NDArray[np.float32] | None) -> None:
        """Add the embedding of a tile, if the network has one."""
        if embedding is not None:
            self._sum = embedding.astype(np.float64) if self._sum is None else self._sum + embedding
            self._count += 1

    def mean(self) -> NDArray[np.float32] | None:
        """Return the mean; None if the network has no embedding."""
        return None if self._sum is None else (self._sum / self._count).astype(np.float32)
