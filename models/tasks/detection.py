"""Detection: boxes with labels and scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.manifest import DetectionOptions, Manifest
from models.preprocess import Geometry
from models.tasks.finding import MAX_DEFECTS, Finding, Outputs, Scores, WrongShape, activate
from schemas.records import Defect

#: Most boxes that enter non-maximum suppression, the best first. This bounds the cost.
_MAX_CANDIDATES = 300
#: Lengths of a finished row: x1, y1, x2, y2, score, class; or the same with an angle.
_ROW_LENGTHS = (6, 7)
#: Remedy for finished rows.
FINISHED = (
    "finished rows of x1, y1, x2, y2, score, class are not read: export without suppression of boxes (end2end=False, "
    "nms=False)"
)


def detection(outputs: Outputs, manifest: Manifest, geometry: Geometry) -> Finding:
    """Convert the boxes of the model to defects of the frame; the score is that of the best defect, or 0.

    Roles, with M boxes and K labels:

    - ``boxes`` ``(1, M, 4)`` with ``scores`` ``(1, M, K)``;
    - the same with ``scores`` ``(1, M)`` and ``classes`` ``(1, M)``, indices of labels;
    - ``predictions`` ``(1, 4 + K, M)``, as YOLOv8 and later export it.

    A box of ``good_label`` is listed among the labels, but it is not a defect.

    Raises
    ------
    WrongShape
        If the outputs have other shapes.
    """
    options = manifest.detection
    assert options is not None  # the manifest's own check
    boxes, scores, classes = _boxes(outputs, manifest)
    chosen = np.flatnonzero(scores >= options.score_threshold)
    # A stable sort, so that equal scores keep the model's order.
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:_MAX_CANDIDATES]
    corners = _corners(boxes[chosen], options, manifest)
    kept = _suppress(corners, classes[chosen], options.iou_threshold)

    labels = dict.fromkeys(manifest.labels, 0.0)
    defects: list[Defect] = []
    for index in kept:
        label, score = manifest.labels[int(classes[chosen[index]])], float(scores[chosen[index]])
        labels[label] = max(labels[label], score)
        if label != manifest.good_label:
            defects.append(Defect(label, score, geometry.to_frame(*(float(v) for v in corners[index]))))
    return Finding(max((d.score for d in defects), default=0.0), labels, tuple(defects[:MAX_DEFECTS]))


def _boxes(outputs: Outputs, manifest: Manifest) -> tuple[Scores, Scores, NDArray[np.int64]]:
    """Return the boxes ``(M, 4)``, and the score ``(M,)`` and class ``(M,)`` of each box."""
    count, activation = len(manifest.labels), manifest.outputs.activation
    if "predictions" in outputs:
        raw = outputs["predictions"]
        if raw.ndim != 3 or raw.shape[:2] != (1, 4 + count):
            raise WrongShape("predictions", raw.shape, f"(1, {4 + count}, boxes)", _cure(raw.shape, count))
        boxes, by_label = raw[0, :4].T, activate(raw[0, 4:].T, activation)
    else:
        boxes, raw = outputs["boxes"], outputs["scores"]
        if boxes.ndim != 3 or boxes.shape[0] != 1 or boxes.shape[2] != 4:
            raise WrongShape("boxes", boxes.shape, "(1, boxes, 4)", _cure(boxes.shape, count))
        boxes = boxes[0]
        if "classes" in outputs:
            classes = outputs["classes"]
            if raw.shape != (1, len(boxes)):
                raise WrongShape(
                    "scores", raw.shape, f"(1, {len(boxes)})", "beside classes it has one score for each box"
                )
            if classes.shape != raw.shape or (classes.size and not 0 <= classes.min() <= classes.max() < count):
                cure = "list all labels; where classes count from one, a label for the background comes first"
                raise WrongShape("classes", classes.shape, f"(1, {len(boxes)}) of label indices below {count}", cure)
            return np.asarray(boxes, np.float64), activate(raw[0], activation), classes[0].astype(np.int64)
        if raw.shape != (1, len(boxes), count):
            cure = "it has one score for each box and label; with one for each box, name the output `classes` as well"
            raise WrongShape("scores", raw.shape, f"(1, {len(boxes)}, {count})", cure)
        by_label = activate(raw[0], activation)
    return np.asarray(boxes, np.float64), by_label.max(axis=1, initial=0.0), _best(by_label)


def looks_like_rows(shape: tuple[int, ...]) -> bool:
    """Return True if predictions are one finished row for each box instead of columns.

    A network has a box for each cell of its grid, so it has more boxes than a row has numbers. A square may be either.

    Examples
    --------
    >>> looks_like_rows((1, 300, 6)), looks_like_rows((1, 6, 8400)), looks_like_rows((1, 300, 38))
    (True, False, True)
    """
    return shape[2] in _ROW_LENGTHS or shape[2] <= shape[1]


def _cure(shape: tuple[int, ...], count: int) -> str:
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


def _best(by_label: Scores) -> NDArray[np.int64]:
    return by_label.argmax(axis=1).astype(np.int64) if len(by_label) else np.zeros(0, np.int64)


def _corners(boxes: Scores, options: DetectionOptions, manifest: Manifest) -> Scores:
    """Return x1, y1, x2, y2 of each box in pixels of the model's input."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if options.box == "xywh":
        second = first + second
    elif options.box == "cxcywh":
        first, second = first - second / 2, first + second / 2
    corners = np.concatenate([first, second], axis=1)
    if options.coordinates == "normalised":
        corners = corners * np.array([manifest.input.width, manifest.input.height] * 2, np.float64)
    return corners


def _suppress(corners: Scores, classes: NDArray[np.int64], iou_threshold: float) -> list[int]:
    """Return the boxes that greedy non-maximum suppression keeps within each class; the best box must come first."""
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
        alive &= ~((iou > iou_threshold) & (classes == classes[index]))
    return kept


def _intersection(box: NDArray[Any], boxes: NDArray[Any]) -> Scores:
    sides = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1])
