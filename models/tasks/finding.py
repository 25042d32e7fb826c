"""What a model says of one image, before the decision rule."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.records import Defect


@dataclass(frozen=True, slots=True)
class Finding:
    """Defect score in [0, 1] (NaN if the model gave none), class scores, defects in pixels of the frame."""

    score: float
    labels: dict[str, float] = field(default_factory=dict)
    defects: tuple[Defect, ...] = ()
