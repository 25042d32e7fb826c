"""Decoder of a finished anomaly score: one number for the image."""

from __future__ import annotations

import numpy as np

from models.manifest import Manifest
from models.tasks.finding import Outputs, WrongShape, activate

ROLE = "score"


def finished_score(outputs: Outputs, manifest: Manifest) -> float:
    """Return the output with the role ``score``, ``(1,)`` or ``(1, 1)``, scaled from ``low``..``high`` to 0..1.

    Raises
    ------
    WrongShape
        If the output is not one number.
    """
    options = manifest.anomaly
    assert options is not None  # the manifest's own check
    raw = outputs[ROLE]
    if raw.size != 1:
        raise WrongShape(ROLE, raw.shape, "(1,) or (1, 1)", _cure(raw.shape))
    value = float(activate(raw.reshape(1), manifest.outputs.activation)[0])
    return float(np.clip((value - options.low) / (options.high - options.low), 0.0, 1.0))


def _cure(shape: tuple[int, ...]) -> str:
    if len(shape) >= 3:
        return "name it in the role map, if it is a map"
    if shape[:1] == (1,):
        return "one score for each label is of task classification, role scores"
    return "export it for a batch of one or of any size"
