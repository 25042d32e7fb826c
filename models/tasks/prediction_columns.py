"""Decoder of fused predictions: a column of box and label scores for each box, as YOLOv8 and later export it."""

from __future__ import annotations

import numpy as np

from models.manifest import Manifest
from models.tasks.boxes import Boxes
from models.tasks.finding import Outputs, WrongShape, activate

ROLE = "predictions"
#: Lengths of a finished row: x1, y1, x2, y2, score, class; or the same with an angle.
_ROW_LENGTHS = (6, 7)
#: Remedy for finished rows.
FINISHED = (
    "finished rows of x1, y1, x2, y2, score, class are named `detections: NAME`, with `box: xyxy`; or export without "
    "suppression of boxes (end2end=False, nms=False)"
)


def prediction_columns(outputs: Outputs, manifest: Manifest) -> Boxes:
    """Return the boxes of the output with the role ``predictions``, ``(1, 4 + K, M)`` for K labels and M boxes.

    Raises
    ------
    WrongShape
        If the output has another shape.
    """
    count, raw = len(manifest.labels), outputs[ROLE]
    if raw.ndim != 3 or raw.shape[:2] != (1, 4 + count):
        raise WrongShape(ROLE, raw.shape, f"(1, {4 + count}, boxes)", box_cure(raw.shape, count))
    by_label = activate(raw[0, 4:].T, manifest.outputs.activation)
    best = by_label.argmax(axis=1).astype(np.int64) if len(by_label) else np.zeros(0, np.int64)
    return Boxes(np.asarray(raw[0, :4].T, np.float64), by_label.max(axis=1, initial=0.0), best)


def looks_like_rows(shape: tuple[int, ...]) -> bool:
    """Return True if predictions are one finished row for each box instead of columns.

    A network has a box for each cell of its grid, so it has more boxes than a row has numbers. A square may be either.

    Examples
    --------
    >>> looks_like_rows((1, 300, 6)), looks_like_rows((1, 6, 8400)), looks_like_rows((1, 300, 38))
    (True, False, True)
    """
    return shape[2] in _ROW_LENGTHS or shape[2] <= shape[1]


def box_cure(shape: tuple[int, ...], count: int) -> str:
    """Return the remedy for predictions, or boxes, of a wrong shape."""
    if len(shape) != 3:
        return "name the output of shape (1, 4 + labels, boxes), or those with boxes and scores"
    if shape[0] != 1:
        return "export it for a batch of one or of any size"
    if shape[2] in _ROW_LENGTHS:
        return f"{FINISHED}; if these are no finished rows, transpose them to (1, {4 + count}, boxes)"
    if shape[2] == 4 + count:
        return "transpose it to (1, 4 + labels, boxes) at export, or name boxes and scores as two outputs"
    if 5 + count in shape[1:]:
        return (
            "one number more for each box: an angle (turned boxes are not read, export a model of task detect), an "
            "objectness (multiply the scores by it at export), or a label that is missing"
        )
    return "list one label for each class that the model was trained on; masks and key points are not read"
