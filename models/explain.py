"""Heat map over a frame: the places that led the model to its result, for a person who asks for the reason.

An anomaly map is shown as the model returns it. Most classification models return one number for the whole image, and
no map. The effect of each place on this number is found by hiding the place and running the model again (M. D. Zeiler
and R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2). A detection model
returns boxes, and needs no heat map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.frame_pixels import FramePixels, frame_pixels
from models.input_spec import InputSpec
from models.opencv import cv2
from models.package import Model
from models.preprocess import Geometry, Tensor
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
    """Return the heat map of one encoded image; None for a detection model.

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
    if manifest.task == "detection":
        return None
    with frame_pixels(image, manifest.input) as seen:
        tensor, small, geometry = seen.tensor(manifest.input)
    content = (geometry.left, geometry.top, small.shape[1], small.shape[0])
    try:
        if "map" in manifest.outputs.names:
            values = _over_content(scaled_map(model.run(tensor), manifest), manifest.input, content)
            return HeatMap("anomaly", _over_frame(values, seen))
        return HeatMap("occlusion", _over_frame(_occlusion(tensor, model, geometry, content, steps), seen))
    except WrongShape as error:
        raise ImageError("no-heat-map", f"the model's output for {error.role} {error}") from error
    except ORT_ERRORS as error:
        raise ImageError("no-heat-map", f"the model gives none: {runtime_error_line(error)}") from error


def _over_content(values: NDArray[Any], spec: InputSpec, content: tuple[int, int, int, int]) -> Values:
    """Return the part of a map over the model's input that covers the frame, without the padding."""
    left, top, width, height = content
    whole = cv2.resize(values.astype(np.float32), (spec.width, spec.height), interpolation=cv2.INTER_LINEAR)
    part = whole[top : top + height, left : left + width]
    scale = min(1.0, _MAX_CELLS / max(width, height))
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    cells = cv2.resize(part, size_wh, interpolation=cv2.INTER_AREA).reshape(size_wh[::-1])
    return np.asarray(np.clip(cells, 0, 1), np.float32)


def _over_frame(values: Values, seen: FramePixels) -> Values:
    """Return the map of a region as a map of its whole frame, 0 outside of the region."""
    if seen.region.wh == seen.frame_wh:
        return values
    scale = min(1.0, _MAX_CELLS / max(seen.frame_wh))
    whole = np.zeros([max(1, round(side * scale)) for side in reversed(seen.frame_wh)], np.float32)
    left, top = (min(int(at * scale), side - 1) for at, side in zip(seen.region[:2], whole.shape[::-1], strict=True))
    part = whole[top : top + max(1, round(seen.region.height * scale)), left:][
        :, : max(1, round(seen.region.width * scale))
    ]
    part[:] = cv2.resize(values, part.shape[1::-1], interpolation=cv2.INTER_AREA).reshape(part.shape)
    return whole


def _occlusion(
    tensor: Tensor, model: Model, geometry: Geometry, content: tuple[int, int, int, int], steps: int
) -> Values:
    manifest = model.manifest
    left, top, width, height = content

    def score(values: Tensor) -> float:
        return TASKS[manifest.task](model.run(values), manifest, geometry).score

    channels_last = manifest.input.layout == "NHWC"
    view = tensor if channels_last else tensor.transpose(0, 2, 3, 1)
    mean = view[:, top : top + height, left : left + width].mean(axis=(0, 1, 2))
    mean = np.rint(mean).astype(tensor.dtype) if np.issubdtype(tensor.dtype, np.integer) else mean.astype(tensor.dtype)
    whole = score(tensor)
    total, times = (np.zeros((steps + 1, steps + 1), np.float32) for _ in range(2))
    rows = np.linspace(top, top + height, steps + 2).round().astype(int)
    columns = np.linspace(left, left + width, steps + 2).round().astype(int)
    for row in range(steps):
        for column in range(steps):
            hidden = tensor.copy()
            part = hidden if channels_last else hidden.transpose(0, 2, 3, 1)
            part[:, rows[row] : rows[row + 2], columns[column] : columns[column + 2]] = mean
            # A cell that two hidden places share counts for both places.
            total[row : row + 2, column : column + 2] += whole - score(hidden)
            times[row : row + 2, column : column + 2] += 1
    return total / times
