"""Decisions that a gate does not follow: decisions on a part that was not inspected, and those of a shadow model."""

from __future__ import annotations

from schemas.records import Action, Decision, ResultState, Verdict

#: Stage of a model that runs beside the deciding model; its decisions are compared only, and move no gate.
SHADOW = "challenger"


def is_groundless(decision: Decision) -> bool:
    """Return True if a decision accepts a part that was not inspected, not inspected completely, or not decidable.

    Such a decision is no reason to accept the part. It still proves that there is a picture of the part.
    """
    return decision.action is Action.ACCEPT and (
        decision.result_state is not ResultState.COMPLETED
        or decision.is_partial
        or decision.verdict is Verdict.NOT_DECIDABLE
    )
