"""Decision record of a frame and its inspection; the live worker and the replay share this code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from models.inspection import Inspection
from schemas.ids import decision_id
from schemas.records import Action, Decision, Frame, ResultState, Verdict


class ModelIdentity(Protocol):
    """Fields of a decision that identify the model which made it."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def recipe_id(self) -> str: ...
    @property
    def recipe_revision(self) -> str: ...


@dataclass(frozen=True, slots=True)
class FramePosition:
    """Place and time at which the frame was read: topic, partition, offset, UTC microseconds."""

    topic: str
    partition: int
    offset: int
    received_at_us: int


def build_decision(
    frame: Frame,
    inspection: Inspection,
    model: ModelIdentity,
    source: FramePosition,
    *,
    decided_at_us: int,
    queue_ms: float,
    is_simulated: bool = False,
) -> Decision:
    """Return the decision record of one inspected frame.

    ``is_simulated`` is True for a frame of the past that was published again. Its deadline has no meaning any more, so
    the decision is never late.
    """
    deadline = frame.deadline_at_us
    return Decision(
        decision_id=decision_id(
            frame.frame_id, frame.sha256, model.sha256, model.recipe_revision, inspection.result_state.value
        ),
        frame_id=frame.frame_id,
        line=frame.line,
        station=frame.station,
        camera_id=frame.camera_id,
        part_id=frame.part_id,
        lot=frame.lot,
        started_at_us=frame.started_at_us,
        sequence=frame.sequence,
        image_sha256=frame.sha256,
        attributes=frame.attributes,
        verdict=inspection.verdict,
        action=inspection.action,
        result_state=inspection.result_state,
        reason=inspection.reason,
        score=inspection.score,
        threshold=inspection.threshold,
        labels=inspection.labels,
        defects=inspection.defects,
        model_name=model.name,
        model_version=model.version,
        model_sha256=model.sha256,
        recipe_id=model.recipe_id,
        recipe_revision=model.recipe_revision,
        signals=inspection.signals,
        captured_at_us=frame.captured_at_us,
        received_at_us=source.received_at_us,
        decided_at_us=decided_at_us,
        deadline_at_us=deadline,
        durations_ms={"queue": queue_ms + inspection.waited_ms, **inspection.durations_ms},
        is_late=not is_simulated and deadline is not None and decided_at_us > deadline,
        is_simulated=is_simulated,
        source_topic=source.topic,
        source_partition=source.partition,
        source_offset=source.offset,
    )


def failed_inspection(reason: str, state: ResultState = ResultState.FAILED) -> Inspection:
    """Return the inspection of an image that could not be inspected: not decidable, and rejected.

    Examples
    --------
    >>> failed_inspection("unreadable image").action.value
    'REJECT'
    """
    return Inspection(
        verdict=Verdict.NOT_DECIDABLE,
        action=Action.REJECT,
        result_state=state,
        reason=reason,
        score=None,
        threshold=None,
    )
