"""Detection: boxes with labels and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from models.manifest import Manifest
from models.preprocess import Geometry
from models.tasks import finished_rows, prediction_columns
from models.tasks.boxes import Boxes, corners_of, suppress
from models.tasks.finding import MAX_DEFECTS, Finding, Outputs
from models.tasks.separate_boxes import separate_boxes
from schemas.records import Defect

#: Most boxes of defects, and most of ``good_label``, that enter non-maximum suppression, the best first. This bounds
#: the cost. Boxes of good features, however many, take no place of a defect.
_MAX_CANDIDATES = 300
#: Role -> decoder of the outputs of a model that has this role.
_DECODERS: Mapping[str, Callable[[Outputs, Manifest], Boxes]] = {
    finished_rows.ROLE: finished_rows.finished_rows,
    prediction_columns.ROLE: prediction_columns.prediction_columns,
    "boxes": separate_boxes,
}


def detection(outputs: Outputs, manifest: Manifest, geometry: Geometry) -> Finding:
    """Convert the boxes of the model to defects of the frame; the score is that of the best defect, or 0.

    `models.tasks.finished_rows`, `prediction_columns` and `separate_boxes` have the forms of the outputs. A box of
    ``good_label`` is listed among the labels, but it is not a defect.

    Raises
    ------
    WrongShape
        If the outputs have other shapes, or numbers that are no scores or classes.
    """
    options = manifest.detection
    assert options is not None  # the manifest's own check
    role = next(role for role in _DECODERS if role in outputs)
    found = _DECODERS[role](outputs, manifest)
    chosen = np.flatnonzero(found.scores >= options.score_threshold)
    # A stable sort, so that equal scores keep the model's order.
    chosen = chosen[np.argsort(-found.scores[chosen], kind="stable")]
    is_good = found.classes[chosen] == _index_of_good(manifest)
    place = np.where(is_good, np.cumsum(is_good), np.cumsum(~is_good))
    chosen = chosen[place <= _MAX_CANDIDATES]
    corners = corners_of(found.numbers[chosen], options, manifest.input)
    suppression = options.suppression or ("none" if role == finished_rows.ROLE else "each_label")
    kept = suppress(corners, found.classes[chosen], options.iou_threshold, suppression)

    labels = dict.fromkeys(manifest.labels, 0.0)
    defects: list[Defect] = []
    for index in kept:
        label, score = manifest.labels[int(found.classes[chosen[index]])], float(found.scores[chosen[index]])
        labels[label] = max(labels[label], score)
        if label != manifest.good_label:
            defects.append(Defect(label, score, geometry.to_frame(*(float(v) for v in corners[index]))))
    return Finding(max((d.score for d in defects), default=0.0), labels, tuple(defects[:MAX_DEFECTS]))


def _index_of_good(manifest: Manifest) -> int:
    return -1 if manifest.good_label is None else manifest.labels.index(manifest.good_label)
