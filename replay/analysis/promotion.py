"""Promotion gate: decide if a challenger may replace the champion.

The gate is a test of non-inferiority (G. Piaggio et al., "Reporting of noninferiority and equivalence randomized
trials", JAMA 308, 2012). The challenger passes if it can be *ruled out* that it is worse by more than a limit; it is
not enough that no difference was found. Few labels rule out nothing: the decision is then undecided, and nothing is
promoted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from replay.analysis.comparison_results import Delta, GoldenComparison, PromotionCheck, PromotionDecision
from schemas.errors import SettingsError

PASS, FAIL, UNDECIDED = "pass", "fail", "undecided"
PROMOTE, DO_NOT = "promote", "do not promote"
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionLimits:
    """Limits of the gate: by how much a challenger may be worse.

    Parameters
    ----------
    max_escape_increase, max_overkill_increase
        Largest increase of the rate, challenger minus champion; in [0, 1]. The gate compares it with the upper end of
        the 95 % interval.
    min_labels
        Minimum number of labelled parts of each truth; with fewer the gate promotes nothing.
    max_golden_missed
        Maximum number of defective golden samples that the champion finds and the challenger accepts.
    max_golden_overkill
        Maximum number of good golden samples that only the challenger rejects; None for no limit.
    """

    max_escape_increase: float = 0.0
    max_overkill_increase: float = 0.01
    min_labels: int = 30
    max_golden_missed: int = 0
    max_golden_overkill: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_escape_increase", "max_overkill_increase"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= 1):
                raise SettingsError(f"{name.replace('_', ' ')} {value}: a share from 0 to 1")
        for name in ("min_labels", "max_golden_missed", "max_golden_overkill"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise SettingsError(f"{name.replace('_', ' ')} {value}: not below 0")


def evaluate(
    escapes: Delta | None,
    overkill: Delta | None,
    failed: int,
    limits: PromotionLimits,
    golden: GoldenComparison | None = None,
) -> PromotionDecision:
    """Check every known result against its limit.

    Parameters
    ----------
    escapes, overkill
        Deltas on recorded parts; None if there were no parts to compare, so that golden samples decide alone.
    failed
        Number of parts that the champion inspected and on which the challenger failed.
    """
    checks = []
    if escapes is not None and overkill is not None:
        checks.append(check_delta("escapes", escapes, limits.max_escape_increase, limits.min_labels, "defective"))
        checks.append(check_delta("overkill", overkill, limits.max_overkill_increase, limits.min_labels, "good"))
        checks.append(_count("inspections", failed, 0, "parts that the champion inspects make the challenger fail"))
    if golden is not None:
        missed = "defective golden samples that the champion finds are accepted by the challenger"
        found = _count("golden escapes", golden.newly_missed, limits.max_golden_missed, missed)
        checks.append(found if golden.defective else _without(found, "defective"))
        if limits.max_golden_overkill is not None:
            good = "good golden samples are rejected by the challenger alone"
            found = _count("golden overkill", golden.newly_overkilled, limits.max_golden_overkill, good)
            checks.append(found if golden.good else _without(found, "good"))
        checks.append(
            _count("golden inspections", golden.challenger_failed, 0, "golden samples make the challenger fail")
        )
    outcomes = {check.outcome for check in checks}
    decision = DO_NOT if FAIL in outcomes else UNDECIDED if UNDECIDED in outcomes or not checks else PROMOTE
    return PromotionDecision(decision=decision, checks=tuple(checks))


def check_delta(name: str, delta: Delta, limit: float, min_labels: int, what: str) -> PromotionCheck:
    """Check a delta against its limit.

    With too few labels the check is undecided, since their interval means nothing. With enough labels the check passes
    if the interval rules out an increase above the limit, and fails if the estimate itself is above the limit. Between
    these two cases it is undecided, and more labels are needed.

    Examples
    --------
    >>> few = Delta(champion=0.1, challenger=0.1, delta=0.0, low=0.0, high=0.0, labels=12)
    >>> check_delta("escapes", few, 0.0, 30, "defective").outcome
    'undecided'
    """

    def check(outcome: str, sentence: str) -> PromotionCheck:
        return PromotionCheck(
            name=name, outcome=outcome, sentence=sentence, limit=limit,
            value=delta.delta, low=delta.low, high=delta.high,
        )  # fmt: skip

    if delta.delta is None or delta.low is None or delta.high is None:
        return check(UNDECIDED, f"{name} {delta.why_not}")
    found = f"{name} change by {points(delta.delta)} ({points(delta.low)} to {points(delta.high)})"
    if delta.labels < min_labels:
        return check(UNDECIDED, f"{delta.labels} {what} parts have a label that counts; {min_labels} are needed")
    if delta.high <= limit + _EPSILON:
        unseen = 1 - 0.025 ** (1 / max(1, delta.labels))
        rest = f"; {delta.labels} labels could miss up to {points(unseen)}" if delta.low == delta.high else ""
        return check(PASS, f"{found}: up to {points(limit)} is allowed{rest}")
    if delta.delta > limit + _EPSILON:
        return check(FAIL, f"{found}: up to {points(limit)} is allowed")
    return check(UNDECIDED, f"{found}: up to {points(limit)} is allowed, and more is not ruled out; label more parts")


def points(share: float) -> str:
    """Return a difference of shares as readable text.

    Examples
    --------
    >>> points(0.0123), points(-0.5), points(0.0)
    ('+1.23 points', '-50.00 points', '0 points')
    """
    return f"{100 * share:+.2f} points" if abs(share) >= 0.00005 else "0 points"


def _count(name: str, count: int, limit: int, what: str) -> PromotionCheck:
    outcome = PASS if count <= limit else FAIL
    return PromotionCheck(
        name=name, outcome=outcome, sentence=f"{count} {what}; {limit} allowed", limit=limit, value=float(count)
    )


def _without(check: PromotionCheck, what: str) -> PromotionCheck:
    """Return the check as undecided: a set without such samples shows nothing."""
    error = "misses" if what == "defective" else "rejects"
    sentence = f"no golden sample is {what}, so nothing is known of what the challenger {error}: add some"
    return replace(check, outcome=UNDECIDED, sentence=sentence)
