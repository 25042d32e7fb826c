"""Classification: one logit for "defective", or one for each label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.manifest import Manifest
from models.preprocess import Placement
from models.tasks.finding import Finding


def read_classification(outputs: Mapping[str, NDArray[Any]], manifest: Manifest, _: Placement) -> Finding:
    """Score: the sum of the defect labels' probabilities, ``scores`` being ``(1, labels)`` or ``(1, 1)`` float."""
    values = np.asarray(outputs["scores"], np.float64).reshape(-1)
    if manifest.outputs.activation == "sigmoid":
        values = 1.0 / (1.0 + np.exp(-np.clip(values, -60, 60)))  # clip keeps NaN
    elif manifest.outputs.activation == "softmax":
        exponentials = np.exp(values - values.max())
        values = exponentials / exponentials.sum()
    if values.size == 1 and len(manifest.labels) == 2:
        # One output for two labels: the probability of the defect.
        defect = manifest.defect_labels[0]
        good = next(label for label in manifest.labels if label != defect)
        score = float(values[0])
        return Finding(score, {good: 1.0 - score, defect: score})
    labels = {label: float(value) for label, value in zip(manifest.labels, values, strict=True)}
    # Rounding may carry a sum of softmax terms over 1 by an ulp; NaN stays NaN.
    total = sum(labels[label] for label in manifest.defect_labels)
    return Finding(1.0 if 1.0 < total < 1.0 + 1e-6 else total, labels)
