"""Comparison of a repeated decision with the recorded one: byte for byte, apart from the times.

A decision depends on the image, the model and its recipe. Some recorded decisions depended on the moment instead: a
frame was too late, or a store did not answer. The comparison separates these from real differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from replay.reinspect.rows import body
from schemas.codec import encode
from schemas.records import Decision, ResultState

#: Fields with times; they differ between any two inspections of one frame.
TIMES = frozenset({"received_at_us", "decided_at_us", "durations_ms", "is_late"})
#: Beginnings of the reason if the image could not be fetched, then or now: not a matter of the model.
_NO_IMAGE = ("image-missing: ", "image-by-reference: ", "image-store-unavailable: ")
_COMPARED = tuple(f.name for f in fields(Decision) if f.name not in TIMES)


class Likeness(StrEnum):
    """Relation of a repeated decision to the recorded one.

    ======================  ============================================================================
    ``same``                equal byte for byte, apart from the times
    ``different``           another decision on the same frame by the same model and recipe: always a fault
    ``other-model``         the recorded one is by another model or recipe, so there is no comparison
    ``not-inspected-then``  shed, too late, or its image could not be fetched: load or clock decided
    ``not-inspected-now``   its image cannot be fetched any more
    ``no-decision``         nothing is recorded for this message
    ``unreadable-frame``    the message is not a frame, then as now: a dead letter, and no decision
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
class DecisionDifference:
    """Reason why a decision was not reproduced.

    Parameters
    ----------
    kind
        Any likeness except ``same``.
    fields
        Fields that differ, with the recorded and the new value; empty unless the kind is ``different``.
    """

    kind: Likeness
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def compare(recorded: Decision | None, replayed: Decision, encoded: bytes | None = None) -> DecisionDifference | None:
    """Compare a repeated decision with the recorded one of the same message; None where they are the same.

    Parameters
    ----------
    encoded
        ``replayed`` as encoded by `schemas.codec.encode`; None to encode it here.

    Examples
    --------
    >>> from schemas.records import Action, Verdict
    >>> then = Decision(
    ...     decision_id="d", frame_id="f", line="l", station="s", camera_id="c", started_at_us=1, sequence=0,
    ...     image_sha256="", verdict=Verdict.OK, action=Action.ACCEPT, result_state=ResultState.COMPLETED, reason="",
    ...     model_name="m", model_version="1", model_sha256="aa", recipe_id="r", recipe_revision="1-ab", score=0.1,
    ...     captured_at_us=1, received_at_us=2, decided_at_us=3, source_topic="t", source_partition=0, source_offset=0)
    >>> print(compare(then, replace(then, decided_at_us=99, is_late=True)))
    None
    >>> compare(then, replace(then, score=0.2))
    DecisionDifference(kind=<Likeness.DIFFERENT: 'different'>, fields={'score': (0.1, 0.2)})
    >>> compare(then, replace(then, recipe_revision="1-cd")).kind.value
    'other-model'
    """
    if recorded is None:
        return DecisionDifference(Likeness.NO_DECISION)
    if (recorded.model_sha256, recorded.recipe_id, recorded.recipe_revision) != (
        replayed.model_sha256, replayed.recipe_id, replayed.recipe_revision,
    ):  # fmt: skip
        return DecisionDifference(Likeness.OTHER_MODEL)
    then = replace(
        recorded,
        received_at_us=replayed.received_at_us,
        decided_at_us=replayed.decided_at_us,
        durations_ms=replayed.durations_ms,
        is_late=replayed.is_late,
    )
    # Compare bytes: equal records may differ in 0.0 and -0.0, and in the order of labels.
    if body(encode(then)) == body(encode(replayed) if encoded is None else encoded):
        return None
    if recorded.result_state is ResultState.ABORTED or _had_no_image(recorded):
        return DecisionDifference(Likeness.NOT_INSPECTED_THEN)
    if _had_no_image(replayed):
        return DecisionDifference(Likeness.NOT_INSPECTED_NOW)
    return DecisionDifference(Likeness.DIFFERENT, _differing(recorded, replayed))


def _had_no_image(decision: Decision) -> bool:
    return decision.result_state is ResultState.FAILED and decision.reason.startswith(_NO_IMAGE)


def _differing(recorded: Decision, replayed: Decision) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (getattr(recorded, name), getattr(replayed, name)) for name in _COMPARED}
    # Compare by text, which distinguishes 0.0 from -0.0 and one order from another.
    return {name: pair for name, pair in pairs.items() if repr(pair[0]) != repr(pair[1])}
