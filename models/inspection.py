"""Result of an inspection: the fields of a decision that depend on the image and the model alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.remarks import Remark
from schemas.records import Action, Defect, ResultState, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Result of inspecting one image: the same bytes and the same model have the same result.

    Only ``durations_ms`` (stages ``decode`` and ``infer``) and ``waited_ms``, the wait for memory that other images
    used, differ between two runs. ``score`` is the defect score in [0, 1], ``labels`` are the class scores, ``signals``
    one number for each signal. ``remarks`` describe an unusual image, and are not part of a decision.
    """

    verdict: Verdict
    action: Action
    result_state: ResultState
    reason: str
    score: float | None
    threshold: float | None
    labels: dict[str, float] = field(default_factory=dict)
    defects: tuple[Defect, ...] = ()
    signals: dict[str, float] = field(default_factory=dict)
    durations_ms: dict[str, float] = field(default_factory=dict, compare=False)
    waited_ms: float = field(default=0.0, compare=False)
    remarks: tuple[Remark, ...] = ()
