"""Whether a decision made again is the one that was recorded: byte for byte, apart from the times.

A decision depends on the image, the model and its recipe. What else the line decided then (that a frame was too late,
that a store did not answer) depends on the moment, and is told apart from a real difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from replay.reinspect.rows import body
from schemas.codec import encode
from schemas.records import Decision, ResultState

#: Fields that say when; no two inspections of one frame share them.
TIMES = frozenset({"received_at_us", "decided_at_us", "durations_ms", "is_late"})
#: Begins of the reason where the image could not be had, then or now: no matter of the model.
_NO_IMAGE = ("image-missing: ", "image-by-reference: ", "image-store-unavailable: ")
_COMPARED = tuple(f.name for f in fields(Decision) if f.name not in TIMES)


class Likeness(StrEnum):
    """How a decision made again stands to the recorded one.

    ======================  ============================================================================
    ``same``                equal byte for byte, apart from the times
    ``different``           another decision on the same frame by the same model and recipe: never good
    ``other-model``         the recorded one is by another model or recipe, so nothing is said
    ``not-inspected-then``  shed, too late, or its image could not be fetched: load or clock decided
    ``not-inspected-now``   its image cannot be fetched any more
    ``no-decision``         nothing is recorded for this message
    ``unreadable-frame``    the message is no frame, then as now: a dead letter, and no decision
    ======================  ============================================================================
    """

    SAME = "same"
    DIFFERENT = "different"
    OTHER_MODEL = "other-model"
    NOT_INSPECTED_THEN = "not-inspected-then"
    NOT_INSPECTED_NOW = "not-inspected-now"
    NO_DECISION = "no-decision"
    UNREADABLE = "unreadable-frame"


@dataclass(frozen=True, slots=True)
class Difference:
    """Why a decision was not reproduced.

    Parameters
    ----------
    kind
        Anything but ``same``.
    fields
        Those that differ, with the recorded and the new value; only where the kind is ``different``.
    """

    kind: Likeness
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def compare(recorded: Decision | None, replayed: Decision, encoded: bytes | None = None) -> Difference | None:
    """Compare a decision made again with the recorded one of the same message; None where they are the same.

    Parameters
    ----------
    encoded
        ``replayed`` as `schemas.codec.encode` gives it, where that is at hand.

    Examples
    --------
    >>> from schemas.records import Action, Verdict
    >>> then = Decision(
    ...     decision_id="d", frame_id="f", line="l", station="s", camera_id="c", started_at_us=1, sequence=0,
    ...     image_sha256="", verdict=Verdict.OK, action=Action.ACCEPT, result_state=ResultState.COMPLETED, reason="",
    ...     model_name="m", model_version="1", model_sha256="aa", recipe_id="r", recipe_revision="1-ab", score=0.1,
    ...     captured_at_us=1, received_at_us=2, decided_at_us=3, source_topic="t", source_partition=0, source_offset=0)
    >>> compare(then, replace(then, decided_at_us=99, is_late=True)) is None
    True
    >>> compare(then, replace(then, score=0.2))
    Difference(kind=<Likeness.DIFFERENT: 'different'>, fields={'score': (0.1, 0.2)})
    >>> compare(then, replace(then, recipe_revision="1-cd")).kind.value
    'other-model'
    """
    if recorded is None:
        return Difference(Likeness.NO_DECISION)
    if (recorded.model_sha256, recorded.recipe_id, recorded.recipe_revision) != (
        replayed.model_sha256, replayed.recipe_id, replayed.recipe_revision,
    ):  # fmt: skip
        return Difference(Likeness.OTHER_MODEL)
    then = replace(
        recorded,
        received_at_us=replayed.received_at_us,
        decided_at_us=replayed.decided_at_us,
        durations_ms=replayed.durations_ms,
        is_late=replayed.is_late,
    )
    # Bytes: equality of the records would let 0.0 be -0.0, and the labels change places.
    if body(encode(then)) == body(encode(replayed) if encoded is None else encoded):
        return None
    if recorded.result_state is ResultState.ABORTED or _had_no_image(recorded):
        return Difference(Likeness.NOT_INSPECTED_THEN)
    if _had_no_image(replayed):
        return Difference(Likeness.NOT_INSPECTED_NOW)
    return Difference(Likeness.DIFFERENT, _differing(recorded, replayed))


def _had_no_image(decision: Decision) -> bool:
    return decision.result_state is ResultState.FAILED and decision.reason.startswith(_NO_IMAGE)


def _differing(recorded: Decision, replayed: Decision) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (getattr(recorded, name), getattr(replayed, name)) for name in _COMPARED}
    # By their text, which tells 0.0 from -0.0 and one order from another.
    return {name: pair for name, pair in pairs.items() if repr(pair[0]) != repr(pair[1])}
