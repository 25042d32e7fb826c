"""The decision rule: score to verdict, verdict to action."""

from __future__ import annotations

from models.manifest import DecisionRule, is_score
from schemas.records import Action, Verdict


def apply_rule(score: float, rule: DecisionRule) -> tuple[Verdict, Action, str]:
    """Verdict, action and a sentence that says why.

    A score that is no number in [0, 1] (a broken model) is not decidable, and never accepted.

    Examples
    --------
    >>> rule = DecisionRule(recipe_id="r", revision="1", threshold=0.5, review_band=(0.4, 0.6))
    >>> apply_rule(0.9, rule)[2]
    'score 0.900 >= threshold 0.500'
    >>> [str(apply_rule(score, rule)[1]) for score in (0.1, 0.45, 0.55, 0.9, float("nan"))]
    ['ACCEPT', 'REVIEW', 'REVIEW', 'REJECT', 'REJECT']
    """
    if not is_score(score):
        verdict = Verdict.NOT_DECIDABLE
        return verdict, rule.actions[verdict], f"the model's score is {score}, not a number in [0, 1]"
    bad = score >= rule.threshold
    verdict = Verdict.NOT_OK if bad else Verdict.OK
    reason = f"score {score:.3f} {'>=' if bad else '<'} threshold {rule.threshold:.3f}"
    band = rule.review_band
    if band is not None and band[0] <= score <= band[1]:
        return verdict, Action.REVIEW, f"{reason}, within the review band {band[0]:.3f} to {band[1]:.3f}"
    return verdict, rule.actions[verdict], reason
