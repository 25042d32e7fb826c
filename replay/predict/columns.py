"""Columns of rows, for `replay.export.write.write_columns`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from replay.analysis.table import Column
from replay.predict.rows import FileRow
from schemas.json_text import json_text
from schemas.records import Defect

#: Beginning of the names of columns for signals and class scores.
_SIGNAL, _LABEL = "signal.", "label."


def columns_of(
    rows: Sequence[FileRow], labels: Sequence[str], signals: Sequence[str], model: dict[str, str]
) -> dict[str, Column]:
    """Return rows as columns.

    Parameters
    ----------
    labels, signals
        Names of the columns with class scores and signals; a row without one of them has no value there.
    model
        Columns about the model, which all rows share.
    """
    texts = {
        "path": [row.path for row in rows],
        "verdict": [row.verdict.value for row in rows],
        "action": [row.action.value for row in rows],
        "result_state": [row.result_state.value for row in rows],
    }
    columns = {name: _objects(values) for name, values in texts.items()}
    columns["score"] = _floats([row.score for row in rows])
    columns["threshold"] = _floats([row.threshold for row in rows])
    for name in labels:
        columns[_LABEL + name] = _floats([row.labels.get(name) for row in rows])
    columns["reason"] = _objects([row.reason for row in rows])
    columns["failure"] = _objects([row.failure or None for row in rows])
    columns["defects"] = _objects([_defects_text(row.defects) for row in rows])
    columns["image_sha256"] = _objects([row.image_sha256 or None for row in rows])
    for name, value in model.items():
        columns[name] = _objects([value] * len(rows))
    for name in signals:
        columns[_SIGNAL + name] = _floats([row.signals.get(name) for row in rows])
    return columns


def _defects_text(defects: Sequence[Defect]) -> str | None:
    found = [{"label": each.label, "score": each.score, "box_xywh": list(each.box_xywh)} for each in defects]
    return json_text(found) if found else None


def _objects(values: Sequence[str | None]) -> Column:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _floats(values: Sequence[float | None]) -> Column:
    return np.array([math.nan if value is None else value for value in values], np.float64)
