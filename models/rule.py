"""Decision rule that turns a score into a verdict and an action."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.manifest import DecisionRule
from schemas.records import Action, ResultState, Verdict


@dataclass(frozen=True, slots=True)
class RuleResult:
    """Verdict, action, result state, and a sentence with the reason."""

    verdict: Verdict
    action: Action
    result_state: ResultState
    reason: str


def apply_rule(score: float, rule: DecisionRule) -> RuleResult:
    """Judge a score in [0, 1]: NOT_OK from the threshold on, REVIEW within the review band.

    A score that is not a number in [0, 1] is a fault of the model; its part is never accepted.

    Examples
    --------
    >>> rule = DecisionRule(recipe_id="cells", revision=1, threshold=0.5, review_band=(0.45, 0.6))
    >>> apply_rule(0.93, rule).reason
    'score 0.93 >= 0.50'
    >>> apply_rule(0.46, rule).action.value
    'REVIEW'
    >>> apply_rule(float("nan"), rule).action.value
    'REJECT'
    """
    if not (math.isfinite(score) and 0.0 <= score <= 1.0):
        return failed(f"the model gave the score {score}, which is none", rule)
    verdict, sign = (Verdict.NOT_OK, ">=") if score >= rule.threshold else (Verdict.OK, "<")
    action = rule.actions.NOT_OK if verdict is Verdict.NOT_OK else rule.actions.OK
    reason = f"score {_compare(score, rule.threshold, sign)}"
    if rule.review_band is not None and rule.review_band[0] <= score <= rule.review_band[1]:
        action = Action.REVIEW
        reason += f", for review from {rule.review_band[0]:g} to {rule.review_band[1]:g}"
    return RuleResult(verdict, action, ResultState.COMPLETED, reason)


def failed(reason: str, rule: DecisionRule) -> RuleResult:
    """Return the outcome for a model without a usable result: NOT_DECIDABLE, with the rule's action for it."""
    # The manifest refuses ACCEPT for NOT_DECIDABLE. If one gets by, the part is still rejected.
    action = rule.actions.NOT_DECIDABLE
    action = Action.REJECT if action is Action.ACCEPT else action
    return RuleResult(Verdict.NOT_DECIDABLE, action, ResultState.FAILED, reason)


def _compare(score: float, threshold: float, sign: str) -> str:
    # 0.4996 compared with 0.5 must not be shown as "0.50 < 0.50".
    for digits in range(2, 7):
        left, right = f"{score:.{digits}f}", f"{threshold:.{digits}f}"
        if left != right or score == threshold:
            return f"{left} {sign} {right}"
    return f"{score!r} {sign} {threshold!r}"
