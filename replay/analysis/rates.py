"""Escape rate, overkill rate and accuracy of a decider, with 95 % intervals, and the confusion table behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from monitoring.quality.estimates import Estimate, Stratum, accuracy, escape_rate, overkill_rate, share
from replay.analysis.arrays import Floats, Integers
from replay.analysis.results import Confusion, ConfusionRow, Rates
from replay.analysis.table import DEFECTIVE, GOOD
from replay.analysis.view import (
    ACCEPT,
    ACTIONS,
    NO_ACTION,
    REJECT,
    REVIEW,
    UNREPRESENTED,
    Flags,
    View,
    unrepresented_action,
)
from replay.past.replayed_frame import RECORDED
from schemas.records import Action

_CELLS = (NO_ACTION + 1) * len(ACTIONS)
_DRAWS = 4_000
_ACTION_OF = np.arange(_CELLS) % len(ACTIONS)
_ON_LINE_OF = np.arange(_CELLS) // len(ACTIONS)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Counts of parts, of representative labels and of defective ones, by cell (recorded and decider's action).

    ``pool`` and ``pool_defective`` count, by recorded action, the labels that may represent all parts of this action.
    """

    parts: Integers
    labelled: Integers
    defective: Integers
    pool: Integers
    pool_defective: Integers

    def strata(self) -> dict[Action, Stratum]:
        """Return the strata by the action of the decider."""
        sums = [
            np.bincount(_ACTION_OF, counts, 3).astype(int) for counts in (self.parts, self.labelled, self.defective)
        ]
        return {action: Stratum(*(int(each[number]) for each in sums)) for number, action in enumerate(ACTIONS)}


def count_cells(view: View, group: Integers, groups: int, is_bad: Flags | None = None) -> list[Cells]:
    """Count the cells of each group of rows.

    Parameters
    ----------
    group
        Group number of each row, 0 to ``groups`` - 1; rows with other numbers are not counted.
    is_bad
        True for each row that counts as defective; None to count rows whose label is defective.
    """
    bad = view.truth == DEFECTIVE if is_bad is None else is_bad
    chosen = (group >= 0) & (group < groups)
    key = group * _CELLS + view.cell

    def count(which: Flags) -> Integers:
        return np.bincount(key[which & chosen], minlength=groups * _CELLS)[: groups * _CELLS].reshape(groups, _CELLS)

    parts, labelled = count(np.ones(len(view), bool)), count(view.labelled)
    drawn, drawn_bad = count(view.is_representative), count(view.is_representative & bad)
    # A cell with a label on every part needs no estimate, as in `SliceCounts.strata`.
    known = labelled == parts
    counted = np.where(known, labelled, drawn)
    defective = np.where(known, count(view.labelled & bad), drawn_bad)
    pools = [each.reshape(groups, NO_ACTION + 1, len(ACTIONS)).sum(axis=2) for each in (drawn, drawn_bad)]
    return [Cells(*each) for each in zip(parts, counted, defective, *pools, strict=True)]


def rates_of(view: View) -> Rates:
    """Return the rates of all inspected parts."""
    cells = count_cells(view, np.zeros(len(view), np.int64), 1)[0]
    strata = cells.strata()
    accepts, rejects = strata[Action.ACCEPT], strata[Action.REJECT]
    escape, overkill, right = rates_of_cells(cells, view.decider)
    if view.decider == RECORDED:
        among_accepts = share(accepts.defective, accepts.labelled, "no accepted part was labelled at random")
        among_rejects = share(rejects.labelled - rejects.defective, rejects.labelled, "no rejected part was labelled")
    else:
        is_accept, is_reject = _ACTION_OF == ACCEPT, _ACTION_OF == REJECT
        among_accepts = _rate(cells, lambda n, bad: ((n * bad)[..., is_accept], n[..., is_accept]), "accepted")
        among_rejects = _rate(cells, lambda n, bad: ((n * (1 - bad))[..., is_reject], n[..., is_reject]), "rejected")
    return Rates(
        escape_rate=escape,
        overkill_rate=overkill,
        accuracy=right,
        escapes_among_accepts=among_accepts,
        overkill_among_rejects=among_rejects,
    )


def rates_of_cells(cells: Cells, decider: str) -> tuple[Estimate, Estimate, Estimate]:
    """Return the escape rate, the overkill rate and the accuracy.

    The rates of the recorded decider are those of `monitoring.quality.estimates`. For any other decider the same
    method goes by cells, because the action of the line decided which parts have labels. The share of each cell is
    drawn from its Jeffreys posterior; the share of a cell without a label is drawn from Beta(1/2, 1/2).
    """
    if decider == RECORDED:
        strata = cells.strata()
        return escape_rate(strata), overkill_rate(strata), accuracy(strata)
    is_accept, is_reject, is_review = (number == _ACTION_OF for number in (ACCEPT, REJECT, REVIEW))
    decided = ~is_review
    return (
        _rate(cells, lambda n, bad: ((n * bad)[..., is_accept], n * bad), "defective"),
        _rate(cells, lambda n, bad: ((n * (1 - bad))[..., is_reject], n * (1 - bad)), "good"),
        _rate(cells, lambda n, bad: (
            np.where(is_accept, n * (1 - bad), n * bad)[..., decided], n[..., decided] + 0 * bad[..., decided],
        ), "decided"),
    )  # fmt: skip


_Ratio = Callable[[Floats, Floats], tuple[Floats, Floats]]


def _rate(cells: Cells, ratio: _Ratio, what: str) -> Estimate:
    """Estimate a ratio of sums over cells; ``ratio`` computes both terms from the parts and the defective shares."""
    parts = cells.parts.astype(np.float64)
    silent = np.bincount(_ON_LINE_OF, np.where(cells.labelled > 0, 0, cells.parts), NO_ACTION + 1)
    for number in np.flatnonzero((silent > 0) & (cells.pool == 0)):
        return Estimate(None, why_not=f"cannot be estimated: {UNREPRESENTED[number]}")
    labels = int(cells.labelled.sum())
    pooled = (cells.pool_defective / np.maximum(cells.pool, 1))[_ON_LINE_OF]
    point = np.where(cells.labelled > 0, cells.defective / np.maximum(cells.labelled, 1), pooled)
    above, below = (terms.sum(axis=-1) for terms in ratio(parts, point))
    if not below > 0:
        return Estimate(None, labels=labels, why_not=f"cannot be estimated: no {what} part is known")
    value = float(above / below)
    random = np.random.default_rng(0)
    drawn = random.beta(cells.defective + 0.5, cells.labelled - cells.defective + 0.5, (_DRAWS, _CELLS))
    drawn = np.where(cells.labelled >= cells.parts, point, drawn)
    above, below = (terms.sum(axis=-1) for terms in ratio(np.broadcast_to(parts, drawn.shape), drawn))
    shares = np.divide(above, below, out=np.full(_DRAWS, value), where=below > 0)
    low, high = (float(bound) for bound in np.quantile(shares, [0.025, 0.975]))
    return Estimate(value, 0.0 if value == 0 else min(low, value), 1.0 if value == 1 else max(high, value), labels)


def confusion_of(view: View) -> Confusion:
    """Return truth by action, as labelled and as estimated for all parts."""
    can_estimate = not unrepresented_action(view)
    rows = []
    for number, action in enumerate(ACTIONS):
        done = view.action == number
        good, bad = done & (view.truth == GOOD), done & (view.truth == DEFECTIVE)
        rows.append(
            ConfusionRow(
                action=action.value,
                parts=int(done.sum()),
                good=int(good.sum()),
                defective=int(bad.sum()),
                unlabelled=int((done & ~view.labelled).sum()),
                good_estimated=float(view.weight[good].sum()) if can_estimate else None,
                defective_estimated=float(view.weight[bad].sum()) if can_estimate else None,
            )
        )
    return Confusion(rows=tuple(rows), escapes=int(view.is_escape.sum()), overkill=int(view.is_overkill.sum()))
