"""Decoder of detections in several outputs: boxes and scores, mostly with classes, sometimes with their number.

These are the forms of TensorFlow's detection API, of torchvision, and of graphs that end in non-maximum suppression.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.manifest import Manifest
from models.tasks.boxes import Boxes, Classes
from models.tasks.class_numbers import label_indices
from models.tasks.finding import Outputs, WrongNumbers, WrongShape, activate
from models.tasks.prediction_columns import box_cure

#: Remedy for classes that are not those of the labels.
_MORE = "list all labels; where classes count from one, say `first_class: 1`"


def separate_boxes(outputs: Outputs, manifest: Manifest) -> Boxes:
    """Return the boxes of the roles ``boxes``, ``scores``, ``classes`` and ``count``.

    With M boxes and K labels, and with or without the batch axis:

    - ``boxes`` ``(1, M, 4)`` with ``scores`` ``(1, M, K)``, or ``(1, M, 1 + K)`` if ``first_class`` is 1: the first is
      the background;
    - the same with ``scores`` ``(1, M)`` and ``classes`` ``(1, M)``, class numbers;
    - ``count``, one number: boxes beyond it are left out.

    Raises
    ------
    WrongShape
        If the outputs have other shapes, or numbers that are no classes.
    """
    options = manifest.detection
    assert options is not None  # the manifest's own check
    labels, activation = len(manifest.labels), manifest.outputs.activation
    boxes, raw, classes = outputs["boxes"], outputs["scores"], outputs.get("classes")
    if boxes.ndim == 2:
        boxes, raw, classes = boxes[None], raw[None], None if classes is None else classes[None]
    if boxes.ndim != 3 or boxes.shape[0] != 1 or boxes.shape[2] != 4:
        raise WrongShape("boxes", boxes.shape, "(1, boxes, 4)", box_cure(boxes.shape, labels))
    count = boxes.shape[1]
    if classes is None:
        columns = labels + options.first_class
        if raw.shape != (1, count, columns):
            cure = "it has one score for each box and label; with one for each box, name the output `classes` as well"
            raise WrongShape("scores", raw.shape, f"(1, {count}, {columns})", cure)
        by_label = activate(raw[0], activation)[:, options.first_class :]
        best = by_label.argmax(axis=1).astype(np.int64) if len(by_label) else np.zeros(0, np.int64)
        found = Boxes(np.asarray(boxes[0], np.float64), by_label.max(axis=1, initial=0.0), best)
        return _first(found, outputs)
    if raw.shape != (1, count):
        raise WrongShape("scores", raw.shape, f"(1, {count})", "beside classes it has one score for each box")
    if classes.shape != raw.shape:
        raise WrongShape("classes", classes.shape, f"(1, {count}) of label indices below {labels}", _MORE)
    found = Boxes(np.asarray(boxes[0], np.float64), activate(raw[0], activation), np.zeros(count, np.int64))
    return _classified(_first(found, outputs), classes[0], "count" in outputs, manifest)


def _first(found: Boxes, outputs: Outputs) -> Boxes:
    """Return the boxes that the output ``count`` counts; all of them without it."""
    raw = outputs.get("count")
    if raw is None:
        return found
    if raw.size != 1:
        raise WrongShape("count", raw.shape, "(1,)", "name the output with the number of boxes of one image")
    number = float(raw.reshape(-1)[0])
    if not 0 <= number <= len(found.scores) or number != int(number):
        raise WrongNumbers(
            "count", f"has the number {number:g}, wanted 0 to {len(found.scores)}", "leave `count` out: scores decide"
        )
    kept = int(number)
    return Boxes(found.numbers[:kept], found.scores[:kept], found.classes[:kept])


def _classified(found: Boxes, numbers: NDArray[Any], is_filled: bool, manifest: Manifest) -> Boxes:
    """Return the boxes with their classes; those of the background are left out.

    Unless the output is filled up, or has a background, the class of every box counts, also below the threshold.
    """
    options = manifest.detection
    assert options is not None
    numbers = numbers[: len(found.scores)]
    if not is_filled and not options.first_class:
        return Boxes(found.numbers, found.scores, _indices(numbers, len(manifest.labels)))
    chosen = found.scores >= options.score_threshold
    boxes, scores = found.numbers[chosen], found.scores[chosen]
    classes = label_indices(numbers[chosen], options.first_class, len(manifest.labels), "classes")
    is_label = classes >= 0
    return Boxes(boxes[is_label], scores[is_label], classes[is_label])


def _indices(numbers: NDArray[Any], count: int) -> Classes:
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < count:
        wanted = f"(1, {len(numbers)}) of label indices below {count}"
        raise WrongShape("classes", (1, len(numbers)), wanted, _MORE)
    return numbers.astype(np.int64)
