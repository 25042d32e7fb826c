"""Anomaly map: how far each place is from what good parts look like there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.manifest import AnomalySpec, Manifest
from models.opencv import cv2
from models.preprocess import Placement
from models.tasks.finding import Finding
from schemas.records import Defect

#: Regions reported at most, the worst first.
_MAX_REGIONS = 20


def read_anomaly_map(outputs: Mapping[str, NDArray[Any]], manifest: Manifest, placement: Placement) -> Finding:
    """Score: a high percentile of the map (``(1, 1, h, w)`` or ``(1, h, w)`` float), which one hot pixel does not move.

    Defects are the connected regions of the map over the rule's threshold, as boxes in the frame.
    """
    spec = manifest.anomaly or AnomalySpec()
    raw = np.asarray(outputs["map"], np.float64)
    raw = raw.reshape(raw.shape[-2:])
    if not np.isfinite(raw).all():
        return Finding(float("nan"))
    scores = np.clip((raw - spec.low) / (spec.high - spec.low), 0.0, 1.0)
    score = float(np.percentile(scores, spec.percentile))
    return Finding(score, {manifest.labels[-1]: score}, _regions(scores, manifest, placement))


def _regions(scores: NDArray[np.float64], manifest: Manifest, placement: Placement) -> tuple[Defect, ...]:
    hot = (scores >= manifest.decision.threshold).astype(np.uint8)
    count, marks, boxes, _ = cv2.connectedComponentsWithStats(hot)
    cell = (manifest.input.width / scores.shape[1], manifest.input.height / scores.shape[0])
    found = []
    for index in range(1, count):
        x, y, width, height = (int(value) for value in boxes[index][:4])
        peak = float(scores[marks == index].max())
        left = (x * cell[0] - placement.offset_xy[0]) / placement.scale_xy[0]
        top = (y * cell[1] - placement.offset_xy[1]) / placement.scale_xy[1]
        box = (left, top, width * cell[0] / placement.scale_xy[0], height * cell[1] / placement.scale_xy[1])
        found.append(Defect(manifest.labels[-1], peak, box))
    return tuple(sorted(found, key=lambda defect: -defect.score)[:_MAX_REGIONS])
