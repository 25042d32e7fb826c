"""Detection: boxes with a score for each label; the score of the image is its worst defect's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.manifest import DetectionSpec, Manifest
from models.opencv import cv2
from models.preprocess import Placement
from models.tasks.finding import Finding
from schemas.records import Defect


def read_detections(outputs: Mapping[str, NDArray[Any]], manifest: Manifest, placement: Placement) -> Finding:
    """Boxes ``(1, n, 4)`` in pixels of the model's input, scores ``(1, n, labels)`` -> defects, overlaps removed."""
    spec = manifest.detection or DetectionSpec()
    boxes = np.asarray(outputs["boxes"], np.float64).reshape(-1, 4)
    scores = np.asarray(outputs["scores"], np.float64).reshape(len(boxes), -1)
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        return Finding(float("nan"))
    if manifest.outputs.activation == "sigmoid":
        scores = 1.0 / (1.0 + np.exp(-np.clip(scores, -60, 60)))
    if not len(boxes):
        return Finding(0.0)
    best = scores.argmax(axis=1)
    top = scores[np.arange(len(boxes)), best]
    xywh = _to_xywh(boxes, spec)
    kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), top.tolist(), best.tolist(), spec.score_threshold, spec.iou_threshold)
    order = sorted((int(i) for i in kept), key=lambda i: -top[i])[: spec.max_defects]
    defects = tuple(Defect(manifest.labels[int(best[i])], float(top[i]), _to_frame(xywh[i], placement)) for i in order)
    wanted = [d.score for d in defects if not manifest.defect_labels or d.label in manifest.defect_labels]
    labels = {label: max((d.score for d in defects if d.label == label), default=0.0) for label in manifest.labels}
    return Finding(max(wanted, default=0.0), labels, defects)


def _to_xywh(boxes: NDArray[np.float64], spec: DetectionSpec) -> NDArray[np.float64]:
    first, second = boxes[:, :2], boxes[:, 2:]
    if spec.box_format == "xyxy":
        return np.hstack([first, second - first])
    return np.hstack([first - second / 2, second])


def _to_frame(xywh: NDArray[np.float64], placement: Placement) -> tuple[float, float, float, float]:
    (sx, sy), (ox, oy) = placement.scale_xy, placement.offset_xy
    x, y, width, height = (float(value) for value in xywh)
    return (x - ox) / sx, (y - oy) / sy, width / sx, height / sy
