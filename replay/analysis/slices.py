"""Slices with errors: every slice is tested against the rest, with a correction for the number of tests.

Each slice is compared with all other parts by Fisher's exact test (R. A. Fisher, 1922; two-sided), twice: escapes
among the labelled defective parts, overkill among the labelled good ones. Only labels that represent all parts of
their action count. The test therefore assumes that within an action parts were labelled at the same rate in every
slice. All tests of an analysis are corrected together by the false discovery rate (Y. Benjamini and Y. Hochberg, JRSS
B 57, 1995).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import false_discovery_control, fisher_exact

from monitoring.quality.estimates import Estimate
from replay.analysis.grouping import Grouping, groupings, truth_like
from replay.analysis.rates import Cells, count_cells, rates_of_cells
from replay.analysis.slice_results import Slice, Slices, SliceTest
from replay.analysis.table import DEFECTIVE, GOOD
from replay.analysis.view import Flags, View

#: Maximum false discovery rate of a significant slice.
MAX_Q = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Representative labels of one truth: all of them, and those that are errors."""

    labels: Flags
    errors: Flags


def find_slices(view: View, truth_attribute: str | None = None) -> Slices:
    """Return all slices: first those significantly worse than the rest, then the others, each sorted by p."""
    is_counted = view.is_counted
    escapes = _Counted(is_counted & (view.truth == DEFECTIVE), is_counted & view.is_escape)
    overkill = _Counted(is_counted & (view.truth == GOOD), is_counted & view.is_overkill)
    found: list[Slice] = []
    left_out = 0
    for grouping in groupings(view, truth_attribute):
        left_out += grouping.left_out
        found += _slices(view, grouping, escapes, overkill)
    corrected, tests = _corrected(found)
    order = sorted(range(len(corrected)), key=lambda at: (*_badness(corrected[at]), at))
    return Slices(
        slices=tuple(corrected[at] for at in order), looked_at=len(corrected), tests=tests, left_out=left_out,
        truth_like=truth_like(view, truth_attribute),
    )  # fmt: skip


def _slices(view: View, grouping: Grouping, escapes: _Counted, overkill: _Counted) -> list[Slice]:
    group, count = grouping.group, len(grouping.names)

    def counts(which: Flags) -> list[int]:
        chosen = group[which & (group >= 0)]
        return [int(number) for number in np.bincount(chosen, minlength=count)]

    is_class = grouping.by == "class"
    parts, labelled = counts(np.ones(len(view), bool)), counts(view.labelled)
    seen = counts(view.is_escape), counts(view.is_overkill)
    tested = [counts(each) for each in (escapes.errors, escapes.labels, overkill.errors, overkill.labels)]
    if is_class:
        whole = np.zeros(len(view), np.int64)
        cells = [count_cells(view, whole, 1, group == number)[0] for number in range(count)]
    else:
        cells = count_cells(view, group, count)
    found = []
    for number, name in enumerate(grouping.names):
        escape_rate, overkill_rate = _rates(cells[number], view.decider, is_class)
        errors, labels, over_errors, over_labels = (each[number] for each in tested)
        found.append(
            Slice(
                by=grouping.by,
                name=name,
                parts=parts[number],
                labelled=labelled[number],
                escapes=seen[0][number],
                overkill=seen[1][number],
                escape_rate=escape_rate,
                overkill_rate=overkill_rate,
                escape=_test(errors, labels, escapes),
                overkill_test=None if is_class else _test(over_errors, over_labels, overkill),
                worse_in="",
                is_significant=False,
            )
        )
    return found


def _rates(cells: Cells, decider: str, is_class: bool) -> tuple[Estimate, Estimate]:
    escape, overkill, _ = rates_of_cells(cells, decider)
    return escape, Estimate(None, why_not="cannot be estimated: overkill has no defect") if is_class else overkill


def _test(errors: int, labels: int, of: _Counted) -> SliceTest | None:
    rest_labels, rest_errors = int(of.labels.sum()) - labels, int(of.errors.sum()) - errors
    if not (labels and rest_labels):
        return None
    p = float(fisher_exact([[errors, labels - errors], [rest_errors, rest_labels - rest_errors]]).pvalue)
    is_worse = errors * rest_labels > rest_errors * labels
    return SliceTest(
        errors=errors, labels=labels, rest_errors=rest_errors, rest_labels=rest_labels, p=min(1.0, p), q=1.0,
        is_worse=is_worse,
    )  # fmt: skip


def _corrected(found: list[Slice]) -> tuple[list[Slice], int]:
    """Return the slices with ``q`` over all tests, and the fields that depend on it; and the number of tests."""
    tests = [test for one in found for test in (one.escape, one.overkill_test) if test is not None]
    if not tests:
        return found, 0
    adjusted = iter(false_discovery_control([test.p for test in tests], method="bh").tolist())
    corrected = []
    for one in found:
        both = [
            None if test is None else replace(test, q=min(1.0, next(adjusted)))
            for test in (one.escape, one.overkill_test)
        ]
        worse = [
            (test.p, name, test.q)
            for name, test in zip(("escape", "overkill"), both, strict=True)
            if test is not None and test.is_worse
        ]
        first = min(worse, default=(1.0, "", 1.0))
        corrected.append(
            replace(one, escape=both[0], overkill_test=both[1], worse_in=first[1], is_significant=first[2] <= MAX_Q)
        )
    return corrected, len(tests)


def _badness(one: Slice) -> tuple[bool, float]:
    test = {"escape": one.escape, "overkill": one.overkill_test, "": None}[one.worse_in]
    return not one.is_significant, 2.0 if test is None else test.p
