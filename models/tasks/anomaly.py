"""Anomaly: a map of the difference between each place and the good parts, or a finished score, or both."""

from __future__ import annotations

import numpy as np

from models.manifest import Manifest
from models.opencv import cv2
from models.preprocess import Geometry
from models.tasks.finding import MAX_DEFECTS, Finding, Outputs, Scores, WrongShape, activate
from models.tasks.finished_score import ROLE, finished_score
from schemas.records import Defect


def anomaly_map(outputs: Outputs, manifest: Manifest, geometry: Geometry) -> Finding:
    """Return the finding of the outputs with the roles ``map`` and ``score``, of at least one of them.

    A finished ``score`` is scaled from ``low``..``high`` to 0..1, see `models.tasks.finished_score`; without a map it
    has no defects. The map has the shape ``(1, 1, h, w)`` or ``(1, h, w)``, is evenly spread over the model's input,
    scaled in the same way, and cut at 0 and 1. Without a finished score, a high percentile of the map is the score: a
    maximum that one noisy cell does not move. Each connected region of the map whose value reaches the decision's
    threshold is a defect.

    Raises
    ------
    WrongShape
        If the outputs are not such a map and such a score.
    """
    finished = finished_score(outputs, manifest) if ROLE in outputs else None
    if finished is not None and "map" not in outputs:
        return Finding(finished, {manifest.labels[0]: finished})
    scaled = scaled_map(outputs, manifest)
    options = manifest.anomaly
    assert options is not None  # the manifest's own check
    score = float(np.percentile(scaled, options.score_percentile)) if finished is None else finished

    label = manifest.labels[0]
    mask = (scaled >= max(manifest.decision.threshold, 1e-9)).astype(np.uint8)
    count, regions, stats, _ = cv2.connectedComponentsWithStats(mask)
    step_x, step_y = manifest.input.width / mask.shape[1], manifest.input.height / mask.shape[0]
    largest = sorted(range(1, count), key=lambda i: (-stats[i, cv2.CC_STAT_AREA], i))[:MAX_DEFECTS]
    defects = []
    for index in largest:
        x, y, width, height = (int(n) for n in stats[index, :4])
        box = geometry.to_frame(x * step_x, y * step_y, (x + width) * step_x, (y + height) * step_y)
        defects.append(Defect(label, float(scaled[regions == index].max()), box))
    defects.sort(key=lambda defect: -defect.score)
    return Finding(score, {label: score}, tuple(defects))


def scaled_map(outputs: Outputs, manifest: Manifest) -> Scores:
    """Return the map itself, ``(h, w)`` float64, scaled from ``low``..``high`` to 0..1.

    The map of a classification model is for the heat map only, and scaled already.

    Raises
    ------
    WrongShape
        If the output is not a map.
    """
    raw = outputs["map"]
    if raw.ndim not in (3, 4) or raw.shape[0] != 1 or (raw.ndim == 4 and raw.shape[1] != 1) or not raw.size:
        raise WrongShape("map", raw.shape, "(1, 1, h, w) or (1, h, w)", _cure(raw.shape))
    options = manifest.anomaly
    if options is None:
        return np.clip(np.asarray(raw.reshape(raw.shape[-2:]), np.float64), 0.0, 1.0)
    values = activate(raw.reshape(raw.shape[-2:]), manifest.outputs.activation)
    return np.clip((values - options.low) / (options.high - options.low), 0.0, 1.0)


def _cure(shape: tuple[int, ...]) -> str:
    if len(shape) == 4 and shape[0] == 1 and shape[3] == 1 and shape[1] > 1:
        return "transpose it to (1, 1, h, w) at export"
    if len(shape) <= 2:
        return (
            "name the output that is the map (such as anomaly_map); one finished score for an image has the role score"
        )
    return "export it for a batch of one or of any size, with one channel: the largest or the mean of several"
