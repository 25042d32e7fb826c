"""Segmentation: a label for each place; connected places of one label are regions, and regions are defects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.manifest import Manifest
from models.opencv import cv2
from models.preprocess import Geometry
from models.tasks.class_numbers import label_indices
from models.tasks.finding import MAX_DEFECTS, Finding, Outputs, Scores, WrongShape, activate
from schemas.records import Defect

#: Largest ratio of the sides of a cell, in pixels of the input: beyond it, the mask has its sides exchanged, or is not
#: one of this input.
_MAX_STRETCH = 1.5
Places = NDArray[np.int64]


def segmentation(outputs: Outputs, manifest: Manifest, geometry: Geometry) -> Finding:
    """Return the regions of the model's mask as defects; the score is that of the best region, or 0.

    Roles, with K labels:

    - ``scores`` ``(1, K, h, w)``, or ``(1, h, w, K)``: a score for each label and place. A place has the label with the
      highest score, if that reaches ``score_threshold``. The score of a region is the mean over its places. One channel
      for two labels is the score of the label that is not good;
    - ``class_map`` ``(1, h, w)`` or ``(1, 1, h, w)``: class numbers. The score of a region is 1.

    The mask is spread evenly over the model's input. Places of ``good_label`` and of the background are no regions, and
    neither is the padding of a letterbox.

    Raises
    ------
    WrongShape
        If the output has another shape or other sides, or numbers that are no classes.
    """
    options = manifest.segmentation
    assert options is not None  # the manifest's own check
    places, scores = _of_classes(outputs, manifest) if "class_map" in outputs else _of_scores(outputs, manifest)
    step_x, step_y = _steps("class_map" if "class_map" in outputs else "scores", places, manifest)
    places = _within_content(places, (step_x, step_y), geometry)
    cell_area = step_x * step_y / (geometry.scale_x * geometry.scale_y)

    labels = dict.fromkeys(manifest.labels, 0.0)
    found: list[tuple[float, float, Defect]] = []
    for index, label in enumerate(manifest.labels):
        if label == manifest.good_label:
            continue
        _, regions, stats, _ = cv2.connectedComponentsWithStats((places == index).astype(np.uint8))
        totals = np.bincount(regions.ravel(), weights=scores.ravel(), minlength=len(stats))
        cells = stats[:, cv2.CC_STAT_AREA]
        large = [n for n in range(1, len(stats)) if cells[n] * cell_area >= options.min_area]
        for number in large:
            score, area = min(float(totals[number] / cells[number]), 1.0), float(cells[number] * cell_area)
            x, y, width, height = (int(n) for n in stats[number, :4])
            box = geometry.to_frame(x * step_x, y * step_y, (x + width) * step_x, (y + height) * step_y)
            labels[label] = max(labels[label], score)
            found.append((score, area, Defect(label, score, box)))
    found.sort(key=lambda each: (-each[0], -each[1]))
    score = found[0][0] if found else 0.0
    if manifest.good_label is not None:
        labels[manifest.good_label] = 1.0 - score
    defects = tuple(defect for _, _, defect in found[:MAX_DEFECTS])
    return Finding(score, labels, defects, sum(area for _, area, _ in found))


def _of_classes(outputs: Outputs, manifest: Manifest) -> tuple[Places, Scores]:
    """Return the label index of each place, -1 for none, and the score 1."""
    raw, options = outputs["class_map"], manifest.segmentation
    assert options is not None
    if raw.ndim == 4 and raw.shape[3] == 1 and raw.shape[1] != 1:
        raw = raw[..., 0]
    if raw.ndim not in (3, 4) or raw.shape[0] != 1 or (raw.ndim == 4 and raw.shape[1] != 1) or not raw.size:
        cure = "export it for a batch of one or of any size, with one class number for each place"
        if raw.ndim == 4 and raw.shape[0] == 1:
            cure = "name it in the role scores, if it has a channel for each label"
        raise WrongShape("class_map", raw.shape, "(1, h, w) or (1, 1, h, w)", cure)
    places = label_indices(raw.reshape(raw.shape[-2:]), options.first_class, len(manifest.labels), "class_map")
    return places, np.ones(places.shape)


def _of_scores(outputs: Outputs, manifest: Manifest) -> tuple[Places, Scores]:
    """Return the label index of each place, -1 for none, and the score of this label."""
    raw, options = outputs["scores"], manifest.segmentation
    assert options is not None
    by_label = activate(np.moveaxis(channels_first(raw, manifest), 0, -1), manifest.outputs.activation)
    best = by_label.argmax(axis=-1)
    if by_label.shape[-1] < len(manifest.labels):
        # One channel for two labels.
        best[:] = 1 if manifest.labels[0] == manifest.good_label else 0
    scores = by_label.max(axis=-1)
    return np.where(scores >= options.score_threshold, best, -1).astype(np.int64), scores


def channels_first(raw: NDArray[Any], manifest: Manifest) -> NDArray[Any]:
    """Return the scores of a segmentation as ``(K, h, w)``.

    Raises
    ------
    WrongShape
        If they have no axis of labels.
    """
    count = len(manifest.labels)
    counts = {count, 1} if count == 2 and manifest.good_label is not None else {count}
    if raw.ndim == 4 and raw.shape[0] == 1 and raw.size:
        is_last = raw.shape[3] in counts
        if raw.shape[1] in counts and not (is_last and manifest.input.layout == "NHWC"):
            return np.asarray(raw[0])
        if is_last:
            return np.moveaxis(raw[0], -1, 0)
    if raw.ndim == 3 and raw.shape[0] == 1:
        cure = "name it in the role class_map, if it has class numbers; or give it an axis of labels at export"
    elif raw.ndim == 4 and raw.shape[0] != 1:
        cure = "export it for a batch of one or of any size"
    else:
        cure = "list one label for each channel, in the order of the training, the background among them"
    raise WrongShape("scores", raw.shape, f"(1, {count}, h, w)", cure)


def _steps(role: str, places: Places, manifest: Manifest) -> tuple[float, float]:
    """Return width and height of a place in pixels of the input."""
    height, width = places.shape
    step_x, step_y = manifest.input.width / width, manifest.input.height / height
    if max(step_x, step_y) > _MAX_STRETCH * min(step_x, step_y):
        wanted = f"sides as those of the input, {manifest.input.height}x{manifest.input.width}"
        cure = "export the mask without crop or padding, or exchange its height and width"
        raise WrongShape(role, (height, width), wanted, cure)
    return step_x, step_y


def _within_content(places: Places, step_xy: tuple[float, float], geometry: Geometry) -> Places:
    """Return the places without those whose centre lies in the padding around the image."""
    height, width = places.shape
    centres = (np.arange(width) + 0.5) * step_xy[0], (np.arange(height) + 0.5) * step_xy[1]
    right = geometry.left + geometry.frame_width * geometry.scale_x
    bottom = geometry.top + geometry.frame_height * geometry.scale_y
    is_column = (centres[0] >= geometry.left) & (centres[0] < right)
    is_row = (centres[1] >= geometry.top) & (centres[1] < bottom)
    return np.where(is_row[:, None] & is_column, places, -1)
