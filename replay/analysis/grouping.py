"""Groupings of parts: by camera, lot, class, model, attributes, hour of the day, quartiles of each signal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from models.signals import CODES, score_signals
from replay.analysis.arrays import Floats, Integers
from replay.analysis.table import DEFECTIVE, UNKNOWN
from replay.analysis.view import View, codes

#: Maximum number of slices of one kind; those with the most labels are kept.
MAX_OF_A_KIND = 200
#: Maximum number of values of an attribute that divides parts; an attribute with more values names single parts.
_MAX_VALUES = 20
#: Maximum share of each truth in groups with a majority of the other truth, for an attribute that states the truth.
_MOST_OTHER = 0.1
#: Signals computed from the score: a low score defines an escape, so these signals do not explain one.
_OF_SCORE = frozenset(score_signals(0.5))
_US_PER_H = 3_600_000_000
UNNAMED = "unnamed"


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """One kind of slices: ``group`` has the number of each row's slice (-1 for no slice), ``names`` the slice names."""

    by: str
    group: Integers
    names: tuple[str, ...]
    left_out: int = 0


def groupings(view: View, truth_attribute: str | None = None) -> Iterator[Grouping]:
    """Yield every grouping of the parts, coarse ones before fine ones.

    Parameters
    ----------
    truth_attribute
        Attribute that states the truth; the parts are not divided by it.
    """
    yield _of_texts("camera", view, "camera")
    yield _of_texts("lot", view, "lot")
    yield _of_class(view)
    yield _of_texts("model", view, f"{view.decider}.model")
    for found in _of_attributes(view):
        if found.by != truth_attribute and not says_truth(found.group, view):
            yield found
    fine = [_of_hour(view)]
    fine += [_of_signal(name, view) for name in view.table.signals if name not in CODES and name not in _OF_SCORE]
    yield from (found for found in fine if len(found.names) > 1)


def truth_like(view: View, truth_attribute: str | None = None) -> tuple[str, ...]:
    """Return the attributes left out of the groupings since they state the truth: the named one, and others like it."""
    return tuple(
        found.by for found in _of_attributes(view) if found.by == truth_attribute or says_truth(found.group, view)
    )


def says_truth(group: Integers, view: View) -> bool:
    """Return True if a part's group tells its truth, as the label of a data set does, and this is not by chance.

    A group tells the truth if at most 10 % of the good parts, and at most 10 % of the defective ones, are in groups in
    which the other truth has the majority. By chance: the labels of n parts, k of them defective, can lie in C(n, k)
    ways, of which one for each set of groups has this property.
    """
    known = (group >= 0) & (view.truth != UNKNOWN)
    count = int(group.max(initial=-1)) + 1
    bad = np.bincount(group[known & (view.truth == DEFECTIVE)], minlength=count)
    good = np.bincount(group[known], minlength=count) - bad
    all_bad, all_good = int(bad.sum()), int(good.sum())
    if not (all_bad and all_good):
        return False
    if bad[bad <= good].sum() > _MOST_OTHER * all_bad or good[good < bad].sum() > _MOST_OTHER * all_good:
        return False
    ways = math.lgamma(all_bad + all_good + 1) - math.lgamma(all_bad + 1) - math.lgamma(all_good + 1)
    return bool(ways > math.log(1_000) + np.count_nonzero(bad + good) * math.log(2))


def _of_attributes(view: View) -> Iterator[Grouping]:
    for name in view.table.columns:
        attribute = name.removeprefix("attribute.")
        if name != attribute:
            found = _of_texts(attribute, view, name)
            if 2 <= len(found.names) <= _MAX_VALUES:
                yield found


def _of_texts(by: str, view: View, column: str) -> Grouping:
    group, names = codes(view.column(column))
    return _bounded(by, np.where(group == names.index(None), -1, group) if None in names else group, names, view)


def _of_class(view: View) -> Grouping:
    group, names = codes(view.column("defect"))
    named = [UNNAMED if name is None else name for name in names]
    return _bounded("class", np.where(view.truth == DEFECTIVE, group, -1), named, view)


def _of_hour(view: View) -> Grouping:
    hour = view.column("captured_at_us") // _US_PER_H % 24
    return _bounded("hour", hour, [f"{number:02}:00 to {(number + 1) % 24:02}:00 UTC" for number in range(24)], view)


def _of_signal(name: str, view: View) -> Grouping:
    values: Floats = view.column(f"signal.{name}")
    is_there = np.isfinite(values)
    if not is_there.any():
        return Grouping(f"signal.{name}", np.full(len(view), -1), ())
    edges = np.unique(np.quantile(values[is_there], [0.25, 0.5, 0.75], method="lower"))
    group = np.where(is_there, np.searchsorted(edges, values, side="left"), -1)
    count = len(edges) + 1
    limits = [f"{edge:.4g}" for edge in edges]
    names = [f"up to {limits[0]}", *(f"{low} to {high}" for low, high in pairwise(limits))]
    return _bounded(f"signal.{name}", group, [*names, f"above {limits[-1]}"][:count], view)


def _bounded(by: str, group: Integers, names: list[str | None] | list[str], view: View) -> Grouping:
    """Keep only slices that have parts; of too many slices keep those with most labels, then with most parts."""
    texts = [name or "" for name in names]
    parts = np.bincount(group[group >= 0], minlength=len(texts))
    labelled = np.bincount(group[(group >= 0) & view.labelled], minlength=len(texts))
    there = np.flatnonzero(parts)
    kept = there[np.lexsort((there, -parts[there], -labelled[there]))][:MAX_OF_A_KIND]
    number = np.full(len(texts) + 1, -1)
    number[kept] = np.arange(len(kept))
    return Grouping(by, number[group], tuple(texts[at] for at in kept), len(there) - len(kept))
