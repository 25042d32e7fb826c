"""Heat map over a frame: the places that led the model to its result, for a person who asks for the reason.

An anomaly map is shown as the model returns it. Most classification models return one number for the whole image, and
no map. The effect of each place on this number is found by hiding the place and running the model again (M. D. Zeiler
and R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2). A detection model
returns boxes, and needs no heat map.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.frame_pixels import PreparedTile, frame_pixels
from models.input_spec import InputSpec
from models.opencv import cv2
from models.package import Model
from models.placement import Placement
from models.preprocess import Geometry, Tensor
from models.regions import Region
from models.runtime import ORT_ERRORS, runtime_error_line
from models.tasks import TASKS
from models.tasks.anomaly import scaled_map
from models.tasks.finding import WrongShape

Values = NDArray[np.float32]

#: Longest side of a map, in cells. A map is drawn over an image, not measured.
_MAX_CELLS = 64


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """Heat map whose cells are spread evenly over the whole frame.

    Parameters
    ----------
    kind
        ``anomaly``: difference between a place and the good parts, 0 to 1. ``occlusion``: amount by which the defect
        score falls when the place is hidden; positive if the place speaks for a defect, negative if it speaks against
        a defect.
    values
        ``(rows, columns)`` float32.
    """

    kind: str
    values: Values


def heat_map(image: bytes, model: Model, *, steps: int = 9) -> HeatMap | None:
    """Return the heat map of one encoded image; None for a model of detection or segmentation.

    Parameters
    ----------
    steps
        Number of places along each side that are hidden, one after the other: ``steps ** 2`` more inferences for a
        classification model. Each place is two steps wide, so that neighbours overlap. It is hidden under the mean
        colour of the image.

    Raises
    ------
    ImageError
        If the image cannot be read, or the model fails on it (kind ``no-heat-map``).

    Examples
    --------
    >>> from models.package import default_model_path, load_model
    >>> cell = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (60, 60), np.uint8))[1].tobytes()
    >>> found = heat_map(cell, load_model(default_model_path()), steps=3)
    >>> found.kind, found.values.shape
    ('occlusion', (4, 4))
    """
    manifest = model.manifest
    if manifest.task in ("detection", "segmentation"):
        return None
    spec = manifest.input
    try:
        with frame_pixels(image, spec, aligner=model.aligner) as seen:
            if seen.fault:
                raise ImageError("no-heat-map", seen.fault)
            if "map" in manifest.outputs.names:
                maps = (
                    (tile.region, _over_content(scaled_map(model.run(tile.tensor), manifest), spec, tile))
                    for tile in seen.tiles(spec)
                )
                return HeatMap("anomaly", over_frame(maps, seen.frame_wh, seen.placement))
            # The worst tile decides, so its places are hidden.
            worst = max(seen.tiles(spec), key=lambda tile: _score(tile.tensor, model, tile.geometry))
            hidden = [(worst.region, _occlusion(worst, model, steps))]
            return HeatMap("occlusion", over_frame(hidden, seen.frame_wh, seen.placement))
    except WrongShape as error:
        raise ImageError("no-heat-map", f"the model's output for {error.role} {error}") from error
    except ORT_ERRORS as error:
        raise ImageError("no-heat-map", f"the model gives none: {runtime_error_line(error)}") from error


def _over_content(values: NDArray[Any], spec: InputSpec, tile: PreparedTile) -> Values:
    """Return the part of a map over the model's input that covers the tile, without the padding."""
    left, top, width, height = _content(tile)
    whole = cv2.resize(values.astype(np.float32), (spec.width, spec.height), interpolation=cv2.INTER_LINEAR)
    part = whole[top : top + height, left : left + width]
    scale = min(1.0, _MAX_CELLS / max(width, height))
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    cells = cv2.resize(part, size_wh, interpolation=cv2.INTER_AREA).reshape(size_wh[::-1])
    return np.asarray(np.clip(cells, 0, 1), np.float32)


def _content(tile: PreparedTile) -> tuple[int, int, int, int]:
    """Return the place of the tile within the model's input: left, top, width, height."""
    return tile.geometry.left, tile.geometry.top, tile.small.shape[1], tile.small.shape[0]


def over_frame(
    maps: Iterable[tuple[Region, Values]], frame_wh: tuple[int, int], placement: Placement | None = None
) -> Values:
    """Return the maps of some regions as one map of the frame, 0 elsewhere; where regions overlap, the largest value.

    A cell has the largest value of the places in it: a mean would hide small defects of large frames. With a
    placement, the regions are those of the aligned frame.
    """
    whole = _joined(maps, frame_wh)
    return whole if placement is None else placement.cells(whole)


def _joined(maps: Iterable[tuple[Region, Values]], frame_wh: tuple[int, int]) -> Values:
    scale = min(1.0, _MAX_CELLS / max(frame_wh))
    whole = np.zeros([max(1, round(side * scale)) for side in reversed(frame_wh)], np.float32)
    is_set = np.zeros(whole.shape, bool)
    for region, values in maps:
        if region.wh == frame_wh:
            return values
        left, top = (min(int(at * scale), side - 1) for at, side in zip(region[:2], whole.shape[::-1], strict=True))
        place = np.s_[
            top : top + max(1, round(region.height * scale)), left : left + max(1, round(region.width * scale))
        ]
        fitted = _fitted(values, whole[place].shape)
        whole[place] = np.where(is_set[place], np.maximum(whole[place], fitted), fitted)
        is_set[place] = True
    return whole


def _fitted(values: Values, shape: tuple[int, ...]) -> Values:
    """Return a map with another number of cells; a larger cell has the largest of its values."""
    for axis, cells in enumerate(shape):
        if cells < values.shape[axis]:
            values = np.maximum.reduceat(values, np.arange(cells) * values.shape[axis] // cells, axis=axis)
    return np.asarray(cv2.resize(values, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32).reshape(shape)


def _score(tensor: Tensor, model: Model, geometry: Geometry) -> float:
    return TASKS[model.manifest.task](model.run(tensor), model.manifest, geometry).score


def _occlusion(tile: PreparedTile, model: Model, steps: int) -> Values:
    manifest, tensor = model.manifest, tile.tensor
    left, top, width, height = _content(tile)

    channels_last = manifest.input.layout == "NHWC"
    view = tensor if channels_last else tensor.transpose(0, 2, 3, 1)
    mean = view[:, top : top + height, left : left + width].mean(axis=(0, 1, 2))
    mean = np.rint(mean).astype(tensor.dtype) if np.issubdtype(tensor.dtype, np.integer) else mean.astype(tensor.dtype)
    whole = _score(tensor, model, tile.geometry)
    total, times = (np.zeros((steps + 1, steps + 1), np.float32) for _ in range(2))
    rows = np.linspace(top, top + height, steps + 2).round().astype(int)
    columns = np.linspace(left, left + width, steps + 2).round().astype(int)
    for row in range(steps):
        for column in range(steps):
            hidden = tensor.copy()
            part = hidden if channels_last else hidden.transpose(0, 2, 3, 1)
            part[:, rows[row] : rows[row + 2], columns[column] : columns[column + 2]] = mean
            # A cell that two hidden places share counts for both places.
            total[row : row + 2, column : column + 2] += whole - _score(hidden, model, tile.geometry)
            times[row : row + 2, column : column + 2] += 1
    return total / times
