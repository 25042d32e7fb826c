"""Rates with 95 % intervals if only some parts have labels, and these are not chosen at random.

People look for a label because a part was rejected, so the labelled parts are no sample of all. But the action on a
part (accept, reject, review) is known for every part, and within one action a random share can be labelled. The
estimators weight each action's labels by the number of parts with that action: C. B. Begg and R. A. Greenes,
"Assessment of diagnostic tests when disease verification is subject to selection bias", Biometrics 39, 1983, the case
of inverse probability weighting (D. G. Horvitz and D. J. Thompson, JASA 47, 1952) in which the probability depends on
the action.

With N parts of an action, of which n are labelled and x of those defective, D = N x / n are defective, and the escape
rate is D(accept) / (D(accept) + D(reject) + D(review)). The interval is that of 4,000 draws of each share from its
Jeffreys posterior Beta(x + 1/2, n - x + 1/2) (L. D. Brown, T. T. Cai and A. DasGupta, "Interval estimation for a
binomial proportion", Statistical Science 16, 2001), with a fixed seed: the same labels lead to the same interval. The
share of an action whose parts all have labels is known, and not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.wilson import wilson
from schemas.records import Action

_DRAWS = 4_000
_WORDS = {Action.ACCEPT: "accepted part", Action.REJECT: "rejected part", Action.REVIEW: "part sent to review"}
Shares = Mapping[Action, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Stratum:
    """Parts of one action; those whose labels represent all of them; and the defective ones among these."""

    parts: int = 0
    labelled: int = 0
    defective: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Share in [0, 1] with its 95 % interval from ``labels`` labels; ``why_not`` tells why ``value`` is missing."""

    value: float | None
    low: float = 0.0
    high: float = 1.0
    labels: int = 0
    why_not: str = ""

    def word(self, limit: float) -> str:
        """Return the result of comparing the interval with a limit.

        Examples
        --------
        >>> [share(hits, 300).word(0.05) for hits in (1, 12, 40)]
        ['good', 'few labels', 'bad']
        >>> share(0, 20).word(0.05), share(0, 0).word(0.05)
        ('few labels', 'cannot be estimated')
        """
        if self.value is None:
            return "cannot be estimated"
        if self.high <= limit:
            return "good"
        return "bad" if self.low > limit else "few labels"


def share(hits: int, total: int, why_not: str = "no labels") -> Estimate:
    """Return the plain share of labels, with Wilson's interval."""
    if not total:
        return Estimate(None, why_not=f"cannot be estimated: {why_not}")
    return Estimate(hits / total, *wilson(hits, total), labels=total)


def escape_rate(strata: Mapping[Action, Stratum]) -> Estimate:
    """Estimate the share of the defective parts that were accepted.

    Examples
    --------
    900 accepted, of which 100 are labelled at random and 2 of these defective; all 100 rejected parts labelled, 80 of
    them defective. So 18 of 98 defective parts were accepted, not 2 of 82.

    >>> found = escape_rate({Action.ACCEPT: Stratum(900, 100, 2), Action.REJECT: Stratum(100, 100, 80)})
    >>> [round(number, 2) for number in (found.value, found.low, found.high)]
    [0.18, 0.04, 0.41]
    >>> escape_rate({Action.ACCEPT: Stratum(900), Action.REJECT: Stratum(100, 100, 80)}).why_not
    'cannot be estimated: no accepted part was labelled at random'
    """
    return _rate(strata, lambda parts, bad: (parts[Action.ACCEPT] * bad[Action.ACCEPT], _sum(parts, bad)), "defective")


def overkill_rate(strata: Mapping[Action, Stratum]) -> Estimate:
    """Estimate the share of the good parts that were rejected.

    Examples
    --------
    >>> found = overkill_rate({Action.ACCEPT: Stratum(900, 100, 2), Action.REJECT: Stratum(100, 100, 80)})
    >>> [round(number, 4) for number in (found.value, found.low, found.high)]
    [0.0222, 0.0218, 0.0232]
    """

    def good(parts: Mapping[Action, int], bad: Shares) -> tuple[Any, Any]:
        well = {action: 1.0 - bad[action] for action in bad}
        return parts[Action.REJECT] * well[Action.REJECT], _sum(parts, well)

    return _rate(strata, good, "good")


def accuracy(strata: Mapping[Action, Stratum]) -> Estimate:
    """Estimate the share of correct actions among accepted and rejected parts; parts sent to review are left out.

    Examples
    --------
    >>> found = accuracy({Action.ACCEPT: Stratum(900, 100, 2), Action.REJECT: Stratum(100, 100, 80)})
    >>> [round(number, 2) for number in (found.value, found.low, found.high)]
    [0.96, 0.92, 0.98]
    """
    two = {action: strata.get(action, Stratum()) for action in (Action.ACCEPT, Action.REJECT)}

    def right(parts: Mapping[Action, int], bad: Shares) -> tuple[Any, Any]:
        rightly = parts[Action.ACCEPT] * (1.0 - bad[Action.ACCEPT]) + parts[Action.REJECT] * bad[Action.REJECT]
        return rightly, rightly * 0.0 + parts[Action.ACCEPT] + parts[Action.REJECT]

    return _rate(two, right, "decided")


def _rate(
    strata: Mapping[Action, Stratum],
    ratio: Callable[[Mapping[Action, int], Shares], tuple[Any, Any]],
    what: str,
) -> Estimate:
    strata = {action: strata.get(action, Stratum()) for action in Action}
    for action, stratum in strata.items():
        if stratum.parts and not stratum.labelled:
            at_random = " at random" if action is Action.ACCEPT else ""
            return Estimate(None, why_not=f"cannot be estimated: no {_WORDS[action]} was labelled{at_random}")
    labels = sum(stratum.labelled for stratum in strata.values())
    parts = {action: stratum.parts for action, stratum in strata.items()}
    above, below = ratio(parts, {a: np.array([s.defective / max(1, s.labelled)]) for a, s in strata.items()})
    if not below[0]:
        return Estimate(None, labels=labels, why_not=f"cannot be estimated: no {what} part is known")
    value = float(above[0] / below[0])
    random = np.random.default_rng(0)
    above, below = ratio(parts, {action: _draw(stratum, random) for action, stratum in strata.items()})
    drawn = np.divide(above, below, out=np.full(_DRAWS, value), where=below > 0)
    low, high = (float(bound) for bound in np.quantile(drawn, [0.025, 0.975]))
    # Brown, Cai and DasGupta, section 4.1.2: with no hits, or only hits, the interval includes the end.
    return Estimate(value, 0.0 if value == 0 else min(low, value), 1.0 if value == 1 else max(high, value), labels)


def _draw(stratum: Stratum, random: np.random.Generator) -> NDArray[np.float64]:
    if stratum.labelled >= stratum.parts:
        return np.full(_DRAWS, stratum.defective / max(1, stratum.labelled))
    return random.beta(stratum.defective + 0.5, stratum.labelled - stratum.defective + 0.5, _DRAWS)


def _sum(parts: Mapping[Action, int], shares: Shares) -> Any:
    return sum(parts[action] * shares[action] for action in shares)
