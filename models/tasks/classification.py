"""Classification: one score for each label of the whole image."""

from __future__ import annotations

from models.manifest import Manifest
from models.preprocess import Geometry
from models.tasks.finding import Finding, Outputs, WrongShape, activate


def classification(outputs: Outputs, manifest: Manifest, geometry: Geometry) -> Finding:
    """Role ``scores``: ``(1, K)``, K labels; or ``(1, 1)`` for two labels, the score of the one that is not good.

    The defect score is 1 - score of ``good_label``, or, without one, the highest label score.

    Raises
    ------
    WrongShape
        If the output has another shape.
    """
    raw = outputs["scores"]
    if raw.shape == (1, 1) and len(manifest.labels) == 2 and manifest.good_label is not None:
        score = float(activate(raw[0], manifest.outputs.activation)[0])
        return Finding(score, {n: 1.0 - score if n == manifest.good_label else score for n in manifest.labels})
    if raw.shape != (1, len(manifest.labels)):
        raise WrongShape("scores", raw.shape, f"(1, {len(manifest.labels)}), one for each label")
    scores = activate(raw[0], manifest.outputs.activation).tolist()
    labels = dict(zip(manifest.labels, scores, strict=True))
    score = max(scores) if manifest.good_label is None else 1.0 - labels[manifest.good_label]
    return Finding(score, labels)
