"""Decisions that a gate does not obey: those on a part that nobody has inspected, and those of a shadow model."""

from __future__ import annotations

from schemas.records import Action, Decision, ResultState, Verdict

#: Stage of a model that runs beside the one that decides; what it says is compared, and moves no gate.
SHADOW = "challenger"


def is_groundless(decision: Decision) -> bool:
    """Return if a decision accepts what was not inspected, not as a whole, or could not be decided.

    There is nothing to accept on. It shows all the same that there is a picture of the part.
    """
    return decision.action is Action.ACCEPT and (
        decision.result_state is not ResultState.COMPLETED
        or decision.is_partial
        or decision.verdict is Verdict.NOT_DECIDABLE
    )
