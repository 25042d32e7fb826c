"""Classification: one score for each label of the whole image."""

from __future__ import annotations

from models.manifest import Manifest
from models.preprocess import Geometry
from models.tasks.finding import Finding, Outputs, WrongShape, activate
from models.tasks.label_thresholds import worst_label


def classification(outputs: Outputs, manifest: Manifest, geometry: Geometry) -> Finding:
    """Return the finding of the output with the role ``scores``.

    Its shape is ``(1, K)`` for K labels, or ``(1, 1)`` for two labels: the score of the label that is not good. The
    defect score is 1 - score of ``good_label``, or, without a ``good_label``, the highest label score. With a threshold
    for each label it is that of `models.tasks.label_thresholds`.

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
        count = len(manifest.labels)
        raise WrongShape("scores", raw.shape, f"(1, {count}), one for each label", _cure(raw.shape, count))
    scores = activate(raw[0], manifest.outputs.activation).tolist()
    labels = dict(zip(manifest.labels, scores, strict=True))
    if manifest.classification is not None:
        return Finding(worst_label(labels, manifest)[1], labels)
    score = max(scores) if manifest.good_label is None else 1.0 - labels[manifest.good_label]
    return Finding(score, labels)


def _cure(shape: tuple[int, ...], count: int) -> str:
    numbers = [n for n in shape if n != 1]
    if len(shape) == 1 and not numbers:
        return (
            "a finished score without an axis of labels: say task anomaly_map and the role score; or reshape it to "
            "(n, 1) at export, for one label, or for two with good_label"
        )
    if len(shape) != 2 and numbers == ([] if count == 1 else [count]):
        return f"squeeze the other axes at export: torch.flatten(x, 1), or a Reshape to (-1, {count})"
    if len(shape) == 2 and shape[0] == 1 and shape[1] == 1:
        return "one score is for one label, or for two with good_label"
    if len(shape) == 2 and shape[0] == 1:
        return f"list the {shape[1]} labels that the model was trained on, in its order"
    if len(shape) == 2:
        return "export it for a batch of one or of any size"
    return "name the output with one score for each label; maps, boxes and masks are of the other tasks"
