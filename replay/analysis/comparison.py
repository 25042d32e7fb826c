"""Comparison of champion and challenger on the same parts: their different errors, and the difference of their rates.

McNemar's test (Q. McNemar, Psychometrika 12, 1947) is used in its exact form. It looks at the labelled parts on which
only one decider errs. If both deciders are equally good, each of them errs on half of these parts (a binomial
distribution). The line labels the parts that it rejects, so the full set of labels is biased between the deciders.
Unless every part has a label, the test therefore uses only labels drawn at random. It uses no labels if they were
drawn from accepted parts alone.

Deltas come with 95 % intervals of 4,000 paired bootstrap resamples with a fixed seed. The parts are divided into cells
by the action of the line and by the actions of both deciders. A resample draws the number of parts of each cell, and
the share of defective parts in it. If every part of the cell has a label, the share is drawn from these labels with
replacement. Otherwise it is drawn from the Jeffreys posterior of the labels that represent the cell. Parts that both
deciders treat alike do not blur the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from monitoring.quality.label_index import LabelIndex
from replay.analysis.arrays import Floats, Integers
from replay.analysis.comparison_results import ChangedPart, Comparison, Delta, GoldenComparison, PairedTable
from replay.analysis.promotion import PromotionLimits, evaluate
from replay.analysis.table import DEFECTIVE, GOOD, UNKNOWN, Table, build_table
from replay.analysis.view import (
    ACCEPT,
    NO_ACTION,
    REJECT,
    UNREPRESENTED,
    Flags,
    View,
    decider_view,
    equal,
    representative_parts,
)
from replay.past.replayed_frame import RECORDED, ReplayedFrame

#: Maximum number of listed parts that the deciders treat differently.
MAX_CHANGED = 1_000
_RESAMPLES = 4_000
#: Random labels spread this unevenly over the actions of the line are not a sample of all parts.
_UNEVEN_P = 0.001
_CELLS = (NO_ACTION + 1) * 9
_ON_LINE_OF, _CHAMPION_DOES, _CHALLENGER_DOES = np.unravel_index(np.arange(_CELLS), (NO_ACTION + 1, 3, 3))
_TRUTHS = {UNKNOWN: "unknown", GOOD: "good", DEFECTIVE: "defective"}


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Parts that both deciders have inspected; ``at_champion`` and ``at_challenger`` are their places in each view."""

    champion: View
    challenger: View
    rows: Integers
    at_champion: Integers
    at_challenger: Integers
    truth: np.ndarray[tuple[int], np.dtype[np.int8]]
    is_representative: Flags
    is_counted: Flags
    cell: Integers

    @classmethod
    def of(cls, table: Table, champion: str, challenger: str) -> Pairs:
        """Return the parts that both deciders have inspected."""
        one, two = decider_view(table, champion), decider_view(table, challenger)
        rows, at_one, at_two = np.intersect1d(one.rows, two.rows, assume_unique=True, return_indices=True)
        truth, on_line = one.truth[at_one], one.on_line[at_one]
        is_representative = representative_parts(on_line, truth, table["sampled_because"][rows])
        cell = (on_line.astype(np.int64) * 3 + one.action[at_one]) * 3 + two.action[at_two]
        parts = np.bincount(cell, minlength=_CELLS)
        is_known = np.bincount(cell[truth != UNKNOWN], minlength=_CELLS) == parts
        is_counted = np.where(is_known[cell], truth != UNKNOWN, is_representative)
        return cls(one, two, rows, at_one, at_two, truth, is_representative, is_counted, cell)


def compare(
    table: Table,
    champion: str = RECORDED,
    challenger: str | None = None,
    *,
    limits: PromotionLimits | None = None,
    golden: GoldenComparison | None = None,
) -> Comparison:
    """Compare two deciders of a table, and judge whether the challenger may be promoted.

    Parameters
    ----------
    challenger
        Name of the challenger; None for the last decider of the table.

    Raises
    ------
    SettingsError
        If the table has no such decider.
    """
    challenger = challenger or table.deciders[-1]
    limits = limits or PromotionLimits()
    pairs = Pairs.of(table, champion, challenger)
    one, two = pairs.champion, pairs.challenger
    actions = one.action[pairs.at_champion], two.action[pairs.at_challenger]
    changed = np.flatnonzero(actions[0] != actions[1])
    escape_rate, overkill_rate = _deltas(pairs)
    failed = table[f"{challenger}.result_state"][np.setdiff1d(one.rows, two.rows, assume_unique=True)]
    order = _gravest_first(pairs, changed)
    return Comparison(
        champion=champion,
        challenger=challenger,
        parts=len(pairs.rows),
        only_champion=len(one) - len(pairs.rows),
        only_challenger=len(two) - len(pairs.rows),
        labelled=int((pairs.truth != UNKNOWN).sum()),
        agreement=1 - len(changed) / len(pairs.rows) if len(pairs.rows) else None,
        escapes=_paired(pairs, DEFECTIVE, ACCEPT),
        overkill=_paired(pairs, GOOD, REJECT),
        escape_rate=escape_rate,
        overkill_rate=overkill_rate,
        changed=tuple(_changed(pairs, int(at)) for at in order[:MAX_CHANGED]),
        changed_total=len(changed),
        gate=evaluate(escape_rate, overkill_rate, int((failed == "FAILED").sum()), limits, golden),
        golden=golden,
        warnings=tuple(_warnings(pairs)),
    )


def compare_frames(
    frames: Iterable[ReplayedFrame],
    variants: Sequence[str],
    truths: LabelIndex | None = None,
    *,
    champion: str = RECORDED,
    challenger: str | None = None,
    truth_attribute: str | None = None,
    limits: PromotionLimits | None = None,
    golden: GoldenComparison | None = None,
) -> Comparison:
    """Compare deciders on re-inspected frames; see `compare` and `replay.analysis.table.build_table`."""
    table = build_table(frames, truths, variants=variants, truth_attribute=truth_attribute)
    return compare(table, champion, challenger, limits=limits, golden=golden)


def compare_nothing(
    champion: str, challenger: str, golden: GoldenComparison, limits: PromotionLimits | None = None
) -> Comparison:
    """Return a comparison that rests on golden samples alone."""
    none = PairedTable(
        both_right=0, only_champion_errs=0, only_challenger_errs=0, both_err=0, tested_only_champion=0,
        tested_only_challenger=0, p=None,
    )  # fmt: skip
    unknown = Delta(
        champion=None, challenger=None, delta=None, low=None, high=None, labels=0,
        why_not="cannot be estimated: no recorded part was compared",
    )  # fmt: skip
    return Comparison(
        champion=champion,
        challenger=challenger,
        parts=0,
        only_champion=0,
        only_challenger=0,
        labelled=0,
        agreement=None,
        escapes=none,
        overkill=none,
        escape_rate=unknown,
        overkill_rate=unknown,
        changed=(),
        changed_total=0,
        gate=evaluate(None, None, 0, limits or PromotionLimits(), golden),
        golden=golden,
    )


def mcnemar(only_one_errs: int, only_other_errs: int) -> float | None:
    """Return the two-sided exact p-value; None if the deciders never differ.

    Examples
    --------
    >>> mcnemar(1, 5), mcnemar(3, 3), mcnemar(0, 0)
    (0.21875, 1.0, None)
    """
    differ = only_one_errs + only_other_errs
    return float(binomtest(only_one_errs, differ, 0.5).pvalue) if differ else None


def _paired(pairs: Pairs, truth: int, error: int) -> PairedTable:
    of_truth = pairs.truth == truth
    one = (pairs.champion.action[pairs.at_champion] == error)[of_truth]
    two = (pairs.challenger.action[pairs.at_challenger] == error)[of_truth]
    is_fair = _fair_sample(pairs)[of_truth]
    tested = int((one & ~two & is_fair).sum()), int((~one & two & is_fair).sum())
    return PairedTable(
        both_right=int((~one & ~two).sum()),
        only_champion_errs=int((one & ~two).sum()),
        only_challenger_errs=int((~one & two).sum()),
        both_err=int((one & two).sum()),
        tested_only_champion=tested[0],
        tested_only_challenger=tested[1],
        p=mcnemar(*tested),
    )


def _fair_sample(pairs: Pairs) -> Flags:
    """Return the fair labels, which each part was equally likely to get.

    These are all labels if every part has one, otherwise those drawn at random.

    No label is returned if parts of one recorded action were drawn more often than parts of another, for example if
    only accepted parts were drawn: among accepted parts the line never overkills, and neither can a decider compared
    with it.
    """
    labelled: Flags = pairs.truth != UNKNOWN
    if labelled.all():
        return labelled
    drawn = labelled & equal(pairs.champion.table["sampled_because"][pairs.rows], "random")
    on_line = pairs.champion.on_line[pairs.at_champion]
    for action in np.unique(on_line):
        here = on_line == action
        if binomtest(int(drawn[here].sum()), int(here.sum()), float(drawn.mean())).pvalue < _UNEVEN_P:
            return np.zeros(len(labelled), bool)
    return drawn


_Above = Callable[[Floats], Floats]


def _deltas(pairs: Pairs) -> tuple[Delta, Delta]:
    parts = np.bincount(pairs.cell, minlength=_CELLS)
    is_counted, bad = pairs.is_counted, pairs.truth == DEFECTIVE
    labels = np.bincount(pairs.cell[is_counted], minlength=_CELLS)
    defective = np.bincount(pairs.cell[is_counted & bad], minlength=_CELLS)
    pool = np.bincount(_ON_LINE_OF[pairs.cell[pairs.is_representative]], minlength=NO_ACTION + 1)
    pool_bad = np.bincount(_ON_LINE_OF[pairs.cell[pairs.is_representative & bad]], minlength=NO_ACTION + 1)
    counts = int((is_counted & bad).sum()), int((is_counted & ~bad).sum())
    silent = np.bincount(_ON_LINE_OF, np.where(labels > 0, 0, parts), NO_ACTION + 1)
    why_not = "no part was inspected by both" if not parts.sum() else ""
    for number in np.flatnonzero((silent > 0) & (pool == 0)):
        why_not = why_not or UNREPRESENTED[number]
    if why_not:
        escape, overkill = (
            Delta(champion=None, challenger=None, delta=None, low=None, high=None, labels=count,
                  why_not=f"cannot be estimated: {why_not}")
            for count in counts
        )  # fmt: skip
        return escape, overkill
    point = np.where(labels > 0, defective / np.maximum(labels, 1), (pool_bad / np.maximum(pool, 1))[_ON_LINE_OF])
    random = np.random.default_rng(0)
    drawn_parts = random.multinomial(parts.sum(), parts / parts.sum(), _RESAMPLES)
    share = random.beta(defective + 0.5, labels - defective + 0.5, (_RESAMPLES, _CELLS))
    resampled = random.binomial(drawn_parts, point) / np.maximum(drawn_parts, 1)
    share = np.where(labels >= parts, resampled, share)
    return (
        _delta(np.asarray(parts * point), np.asarray(drawn_parts * share), ACCEPT, counts[0], "defective"),
        _delta(np.asarray(parts * (1 - point)), np.asarray(drawn_parts * (1 - share)), REJECT, counts[1], "good"),
    )


def _delta(of_truth: Floats, drawn: Floats, error: int, labels: int, what: str) -> Delta:
    """Return the delta of one error, from the parts of one truth by cell, as estimated and as drawn."""
    total = float(of_truth.sum())
    if not total > 0:
        return Delta(
            champion=None, challenger=None, delta=None, low=None, high=None, labels=labels,
            why_not=f"cannot be estimated: no {what} part is known",
        )  # fmt: skip
    one, two = (float(of_truth[does == error].sum()) / total for does in (_CHAMPION_DOES, _CHALLENGER_DOES))
    does_err = [np.asarray(does == error, np.float64) for does in (_CHAMPION_DOES, _CHALLENGER_DOES)]
    sign = does_err[1] - does_err[0]
    value = float(of_truth @ sign) / total
    totals = drawn.sum(axis=1)
    deltas = np.divide(drawn @ sign, totals, out=np.full(len(totals), value), where=totals > 0)
    low, high = (float(bound) for bound in np.quantile(deltas, [0.025, 0.975]))
    return Delta(champion=one, challenger=two, delta=value, low=min(low, value), high=max(high, value), labels=labels)


def _gravest_first(pairs: Pairs, changed: Integers) -> Integers:
    """Sort by gravity: new escapes, other defective parts, good parts, unlabelled parts; in each by score change."""
    truth = pairs.truth[changed]
    now = pairs.challenger.action[pairs.at_challenger[changed]]
    grade = np.select([(truth == DEFECTIVE) & (now == ACCEPT), truth == DEFECTIVE, truth == GOOD], [0, 1, 2], 3)
    difference = np.abs(
        pairs.champion.score[pairs.at_champion[changed]] - pairs.challenger.score[pairs.at_challenger[changed]]
    )
    return changed[np.lexsort((pairs.rows[changed], -difference, grade))]


def _changed(pairs: Pairs, at: int) -> ChangedPart:
    row = int(pairs.rows[at])
    table = pairs.champion.table
    champion, challenger = pairs.champion.decider, pairs.challenger.decider

    def score(decider: str) -> float | None:
        value = float(table[f"{decider}.score"][row])
        return value if np.isfinite(value) else None

    return ChangedPart(
        row=row,
        frame_id=table["frame_id"][row],
        part_id=table["part_id"][row],
        camera=table["camera"][row],
        lot=table["lot"][row],
        truth=_TRUTHS[int(pairs.truth[at])],
        defect=table["defect"][row],
        champion_action=table[f"{champion}.action"][row],
        challenger_action=table[f"{challenger}.action"][row],
        champion_verdict=table[f"{champion}.verdict"][row],
        challenger_verdict=table[f"{challenger}.verdict"][row],
        champion_score=score(champion),
        challenger_score=score(challenger),
        topic=table["topic"][row],
        partition=int(table["partition"][row]),
        offset=int(table["offset"][row]),
    )


def _warnings(pairs: Pairs) -> list[str]:
    found = []
    missing = len(pairs.champion) - len(pairs.rows)
    if missing:
        found.append(f"{missing} parts were inspected by {pairs.champion.decider} alone: they are not compared")
    if not (pairs.truth != UNKNOWN).any() and len(pairs.rows):
        found.append("no part has a label: the deciders can be told apart, but not which one is right")
    return found
