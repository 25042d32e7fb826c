"""Code that the tasks share: their result, and the conversion of raw numbers to scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.records import Defect

#: Outputs of the graph by their role in the manifest.
Outputs = Mapping[str, NDArray[Any]]
Scores = NDArray[np.float64]

#: Most defects that one decision lists, the highest scores first.
MAX_DEFECTS = 50


class WrongShape(ValueError):
    """Output whose shape does not fit the task; ``role`` names it, ``cure`` is the change that the model needs."""

    def __init__(self, role: str, shape: tuple[int, ...], wanted: str, cure: str) -> None:
        super().__init__(f"has shape {shape}, wanted {wanted}")
        self.role, self.cure = role, cure


class WrongNumbers(WrongShape):
    """Output whose numbers cannot be what its role says, such as the class 7 of two labels."""

    def __init__(self, role: str, fault: str, cure: str) -> None:
        ValueError.__init__(self, fault)
        self.role, self.cure = role, cure


@dataclass(frozen=True, slots=True)
class Finding:
    """Defect score in [0, 1], score of each label, and the defects found, in frame pixels.

    ``area`` is the area of all defects in frame pixels; None if the task measures no areas.
    """

    score: float
    labels: dict[str, float] = field(default_factory=dict)
    defects: tuple[Defect, ...] = ()
    area: float | None = None


def activate(values: NDArray[Any], activation: str) -> Scores:
    """Apply ``none``, ``sigmoid`` or ``softmax`` (over the last axis) in float64.

    Examples
    --------
    >>> activate(np.array([[0.0, 1000.0]]), "softmax").tolist()
    [[0.0, 1.0]]
    >>> activate(np.array([-1000.0, 0.0]), "sigmoid").tolist()
    [0.0, 0.5]
    """
    x = np.asarray(values, np.float64)
    if activation == "sigmoid":
        # This form cannot overflow for either sign.
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1.0, e) / (1.0 + e)
    if activation == "softmax":
        with np.errstate(invalid="ignore"):  # what is not a number is told later
            e = np.exp(x - x.max(axis=-1, keepdims=True))
            return np.asarray(e / e.sum(axis=-1, keepdims=True))
    return x
