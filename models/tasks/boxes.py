"""Boxes of a detection model: their corners, and the suppression of overlapping ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.input_spec import InputSpec
from models.task_spec import DetectionOptions, Suppression
from models.tasks.finding import Scores

Classes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes as the model returns them.

    Parameters
    ----------
    numbers
        ``(M, 4)`` float64, in the order and unit of the manifest.
    scores
        ``(M,)`` float64.
    classes
        ``(M,)`` int64, indices of labels.
    """

    numbers: Scores
    scores: Scores
    classes: Classes


def corners_of(numbers: Scores, options: DetectionOptions, spec: InputSpec) -> Scores:
    """Return x1, y1, x2, y2 of each box in pixels of the model's input.

    Examples
    --------
    >>> spec = InputSpec(name="x", width=8, height=4, colour="grey", dtype="uint8")
    >>> options = DetectionOptions(score_threshold=0.5, box="yxyx", coordinates="normalised")
    >>> corners_of(np.array([[0.0, 0.25, 0.5, 1.0]]), options, spec).tolist()
    [[2.0, 0.0, 8.0, 2.0]]
    """
    if options.box == "yxyx":
        numbers = numbers[:, [1, 0, 3, 2]]
    first, second = numbers[:, :2], numbers[:, 2:]
    if options.box == "xywh":
        second = first + second
    elif options.box == "cxcywh":
        first, second = first - second / 2, first + second / 2
    corners = np.concatenate([first, second], axis=1)
    if options.coordinates == "normalised":
        corners = corners * np.array([spec.width, spec.height] * 2, np.float64)
    return corners


def suppress(corners: Scores, classes: Classes, iou_threshold: float, suppression: Suppression) -> list[int]:
    """Return the boxes that greedy non-maximum suppression keeps; the best box must come first.

    Examples
    --------
    >>> corners, classes = np.array([[0.0, 0, 4, 4], [0, 0, 4, 3]]), np.array([0, 1])
    >>> suppress(corners, classes, 0.5, "each_label"), suppress(corners, classes, 0.5, "all_labels")
    ([0, 1], [0])
    """
    if suppression == "none":
        return list(range(len(corners)))
    groups = classes if suppression == "each_label" else np.zeros_like(classes)
    sizes = np.clip(corners[:, 2:] - corners[:, :2], 0, None)
    areas = sizes[:, 0] * sizes[:, 1]
    alive, kept = np.ones(len(corners), bool), []
    for index in range(len(corners)):
        if not alive[index]:
            continue
        kept.append(index)
        overlap = _intersection(corners[index], corners)
        union = areas[index] + areas - overlap
        iou = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
        alive &= ~((iou > iou_threshold) & (groups == groups[index]))
    return kept


def _intersection(box: NDArray[Any], boxes: NDArray[Any]) -> Scores:
    sides = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1])
