"""Rankings of the rows that a person should look at."""

from __future__ import annotations

import numpy as np

from replay.analysis.arrays import Floats, Integers
from replay.analysis.results import Rankings
from replay.analysis.view import Flags, View, decider_view

MAX_RANKED = 100


def rankings_of(view: View, other: View | None = None) -> Rankings:
    """Rank the worst errors, the nearest misses, and the disagreements of two deciders.

    Parameters
    ----------
    other
        Decider to compare with; None for the next decider of the table, if it has more than one.
    """
    distance = np.abs(view.score - view.threshold)
    if other is None:
        names = [name for name in view.table.deciders if name != view.decider]
        other = decider_view(view.table, names[0]) if names else None
    return Rankings(
        escapes=_ranked(view.rows, view.is_escape, view.score),
        overkill=_ranked(view.rows, view.is_overkill, -view.score),
        nearest=_ranked(view.rows, np.isfinite(distance), distance),
        disagreements=() if other is None else _disagreements(view, other),
    )


def _ranked(rows: Integers, which: Flags, key: Floats) -> tuple[int, ...]:
    """Return the rows in order of the key; rows without a key come last, and equal keys keep the order of the rows."""
    chosen = np.flatnonzero(which)
    if len(chosen) > MAX_RANKED:
        # Sort only the first few rows.
        values = np.where(np.isnan(key[chosen]), np.inf, key[chosen])
        limit = np.partition(values, MAX_RANKED - 1)[MAX_RANKED - 1]
        chosen = chosen[values <= limit]
    order = np.lexsort((rows[chosen], key[chosen]))[:MAX_RANKED]
    return tuple(int(row) for row in rows[chosen[order]])


def _disagreements(view: View, other: View) -> tuple[int, ...]:
    rows, at, at_other = np.intersect1d(view.rows, other.rows, assume_unique=True, return_indices=True)
    differ = view.action[at] != other.action[at_other]
    return _ranked(rows, differ, -np.abs(view.score[at] - other.score[at_other]))
