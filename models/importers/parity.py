"""Parity check: the framework and the finished package judge the same images, and their scores are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ImportRefused
from models.frame_pixels import PreparedTile
from models.image_folder import read_image_file
from models.inspect_images import inspect_image
from models.merge_tiles import TileFindings
from models.package import Model
from models.tasks import TASKS, Finding
from models.tasks.finding import WrongShape

#: Largest difference of scores on the same tensor.
LIMIT = 1e-4
#: Largest difference of outputs, as a share of their largest number: a score that is cut at 0 or 1 hides it.
OUTPUT_LIMIT = 1e-3
FrameworkOutputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Parity:
    """Result of the check.

    Parameters
    ----------
    images
        Number of images.
    score_difference
        Largest difference of a score or of the score of a label, on the same tensor.
    output_difference
        Largest difference of an output, as a share of its largest number, on the same tensor.
    own_resizing_difference
        Largest difference of a score where the framework decodes and resizes the file itself; None if it cannot.
    worst, worst_resized
        Images with these differences.
    """

    images: int
    score_difference: float
    output_difference: float
    worst: str
    own_resizing_difference: float | None = None
    worst_resized: str | None = None


def check_parity(
    model: Model,
    paths: Sequence[Path],
    prepared: Sequence[Sequence[PreparedTile]],
    framework: Sequence[Sequence[FrameworkOutputs]],
    own: Sequence[FrameworkOutputs] = (),
) -> Parity:
    """Compare a package with the framework.

    Parameters
    ----------
    prepared
        Tiles of each image as the package prepares them, one without tiles; the framework ran on their tensors.
    framework
        Outputs of the framework by name, for each tile of each image.
    own
        Outputs of the framework for the files, decoded and resized by itself; empty if it cannot, or with tiles.

    Raises
    ------
    ImportRefused
        If scores or outputs differ by more than the limits; the message names the image.
    """
    scores, outputs, resized = [], [], []
    for number, (path, tiles) in enumerate(zip(paths, prepared, strict=True)):
        theirs = [_by_role(model, each, path) for each in framework[number]]
        wanted = _finding(model, theirs, tiles, path)
        found = inspect_image(read_image_file(path), model)
        if found.score is None:
            raise ImportRefused(
                f"{path}: {found.reason}, by the package; the framework has the score {wanted.score:.4f}"
            )
        scores.append(_difference(wanted, Finding(found.score, found.labels)))
        outputs.append(
            max(_largest_share(one, model.run(tile.tensor)) for one, tile in zip(theirs, tiles, strict=True))
        )
        if own:
            resized.append(_difference(_finding(model, [_by_role(model, own[number], path)], tiles, path), wanted))
    for values, limit, kind in ((scores, LIMIT, "scores"), (outputs, OUTPUT_LIMIT, "outputs")):
        worst = int(np.argmax(values))
        if values[worst] > limit:
            raise ImportRefused(
                f"the package and the framework differ: {kind} by {values[worst]:.2g} for {paths[worst]}, over "
                f"{limit:g} on the same tensor: the exported graph computes something else (an unsupported layer, "
                "training mode, or half precision); nothing was written"
            )
    worst = int(np.argmax(scores))
    result = Parity(len(paths), scores[worst], max(outputs), paths[worst].name)
    if not resized:
        return result
    far = int(np.argmax(resized))
    return replace(result, own_resizing_difference=resized[far], worst_resized=paths[far].name)


def _by_role(model: Model, outputs: FrameworkOutputs, path: Path) -> dict[str, NDArray[Any]]:
    found = {role: outputs[name] for role, name in model.manifest.outputs.names.items()}
    if not all(np.isfinite(value).all() for value in found.values()):
        raise ImportRefused(f"{path}: the framework's output is not a number: the model cannot judge this image")
    return found


def _finding(model: Model, outputs: Sequence[FrameworkOutputs], tiles: Sequence[PreparedTile], path: Path) -> Finding:
    found = TileFindings(model.manifest)
    try:
        for each, tile in zip(outputs, tiles, strict=True):
            found.add(tile.region, TASKS[model.manifest.task](each, model.manifest, tile.geometry))
    except WrongShape as error:
        raise ImportRefused(f"{path}: the framework's output for {error.role} {error}: {error.cure}") from error
    return found.merged()


def _difference(first: Finding, second: Finding) -> float:
    pairs = [(first.score, second.score)]
    pairs += [(first.labels[label], second.labels[label]) for label in first.labels]
    return max(abs(a - b) for a, b in pairs)


def _largest_share(first: FrameworkOutputs, second: FrameworkOutputs) -> float:
    found = 0.0
    for role, value in first.items():
        a, b = np.asarray(value, np.float64), np.asarray(second[role], np.float64)
        if a.shape != b.shape:
            return float("inf")
        if a.size:
            found = max(found, float(np.abs(a - b).max() / max(1.0, np.abs(a).max())))
    return found
