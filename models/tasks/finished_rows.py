"""Decoder of finished detections: a row of x1, y1, x2, y2, score, class for each box."""

from __future__ import annotations

import numpy as np

from models.manifest import Manifest
from models.tasks.boxes import Boxes
from models.tasks.class_numbers import label_indices
from models.tasks.finding import Outputs, WrongNumbers, WrongShape

ROLE = "detections"
#: A score in half precision, or of a quantised graph, may be a little above 1.
_TOLERANCE = 0.01


def finished_rows(outputs: Outputs, manifest: Manifest) -> Boxes:
    """Return the boxes of the output with the role ``detections``, ``(1, M, 6)`` or ``(M, 6)``.

    Exporters fill up to a fixed number of rows, mostly with zeros: rows below ``score_threshold`` are left out before
    their class is read. So are boxes of the background.

    Raises
    ------
    WrongShape
        If the output has another shape, or numbers that are no scores or classes.
    """
    options = manifest.detection
    assert options is not None  # the manifest's own check
    raw = outputs[ROLE]
    if raw.shape[-1:] != (6,) or raw.ndim not in (2, 3) or (raw.ndim == 3 and raw.shape[0] != 1):
        raise WrongShape(ROLE, raw.shape, "(1, boxes, 6) or (boxes, 6)", _cure(raw.shape))
    rows = np.asarray(raw, np.float64).reshape(-1, 6)
    if rows.size and rows[:, 4].max() > 1 + _TOLERANCE:
        raise WrongNumbers(
            ROLE,
            f"has the score {rows[:, 4].max():.4g} in its fifth column, wanted 0 to 1",
            "the columns are x1, y1, x2, y2, score, class: put them in this order at export, with a score from 0 to 1",
        )
    rows = rows[rows[:, 4] >= options.score_threshold]
    classes = label_indices(rows[:, 5], options.first_class, len(manifest.labels), ROLE)
    rows, classes = rows[classes >= 0], classes[classes >= 0]
    return Boxes(rows[:, :4], np.minimum(rows[:, 4], 1.0), classes)


def _cure(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[0] != 1 and shape[2] == 6:
        return "export it for a batch of one or of any size"
    if len(shape) == 3 and shape[1] == 6:
        return "transpose it at export; if a column is x, y, width, height and scores of labels, say predictions"
    if shape[-1:] == (7,):
        return "leave out the seventh number (the image, or the angle of a turned box, which is not read) at export"
    if len(shape) == 3 and shape[1] < shape[2]:
        return "it has a column for each box: name it in the role predictions"
    return "name the output with x1, y1, x2, y2, score, class in each row; masks and key points are not read"
