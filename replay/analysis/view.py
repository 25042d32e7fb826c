"""View of one decider's inspected rows as numbers, with the number of parts that each label represents.

Labels are not a sample of all parts: rejected parts are examined, accepted parts are shipped. A part has a label
because of the action of the *line*. So the parts are divided into cells by this action (the recorded one) and by the
action of the decider. A label that represents its cell (by the rules of `inspection quality`) has the weight parts /
labels of the cell: D. G. Horvitz and D. J. Thompson, JASA 47, 1952. For the recorded decider the cells are its
actions, and the estimate is that of `monitoring.quality.estimates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.quality.slice_counts import REPRESENTATIVE_REASONS
from replay.analysis.arrays import Floats, Integers
from replay.analysis.table import DEFECTIVE, GOOD, UNKNOWN, Column, Table
from replay.past.replayed_frame import RECORDED
from schemas.errors import SettingsError
from schemas.records import Action, ResultState, Verdict

ACTIONS = (Action.ACCEPT, Action.REJECT, Action.REVIEW)
ACCEPT, REJECT, REVIEW = range(3)
VERDICTS = (Verdict.OK, Verdict.NOT_OK, Verdict.NOT_DECIDABLE)
OK, NOT_OK = 0, 1
#: Action of a part for which the line has no decision.
NO_ACTION = 3
_BLIND = frozenset({"random"})
#: Reasons by recorded action; the texts are those of `monitoring.quality.estimates`.
UNREPRESENTED = (
    "no accepted part was labelled at random",
    "no rejected part was labelled",
    "no part sent to review was labelled",
    "no part without a decision was labelled at random",
)

Flags = NDArray[np.bool_]
Small = NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Inspected rows of a decider, as arrays of one length; ``rows`` are their indices in the table.

    Parameters
    ----------
    action, verdict
        Action and verdict of the decider: indices into `ACTIONS`, `VERDICTS`.
    on_line
        Recorded action: index into `ACTIONS`, or `NO_ACTION`.
    score, threshold
        Score and threshold; NaN if there is no value.
    truth
        `UNKNOWN`, `GOOD`, `DEFECTIVE` of `replay.analysis.table`.
    is_representative
        True if the label was drawn in a way that allows it to represent all parts of its recorded action.
    is_counted
        True if the label represents parts; this includes all labels of a cell in which every part has a label.
    weight
        Number of parts that a label represents; 0 if it represents no part.
    """

    table: Table
    decider: str
    rows: Integers
    action: Small
    verdict: Small
    on_line: Small
    score: Floats
    threshold: Floats
    truth: Small
    is_representative: Flags
    is_counted: Flags
    weight: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labelled(self) -> Flags:
        """True for each row with a label."""
        return np.asarray(self.truth != UNKNOWN, bool)

    @property
    def is_escape(self) -> Flags:
        """True for each defective row that was accepted."""
        return np.asarray((self.truth == DEFECTIVE) & (self.action == ACCEPT), bool)

    @property
    def is_overkill(self) -> Flags:
        """True for each good row that was rejected."""
        return np.asarray((self.truth == GOOD) & (self.action == REJECT), bool)

    @property
    def cell(self) -> Integers:
        """Cell of each row, 0 to 11: combination of the line's action and the decider's action."""
        return self.on_line.astype(np.int64) * 3 + self.action

    def column(self, name: str) -> Column:
        """Return a column of the table, for the rows of this view."""
        return self.table[name][self.rows]


def decider_view(table: Table, decider: str = RECORDED) -> View:
    """Return the view of a decider.

    Raises
    ------
    SettingsError
        If the table has no such decider.
    """
    if decider not in table.deciders:
        raise SettingsError(f"no decider {decider!r}; there are {', '.join(table.deciders)}")
    completed = equal(table[f"{decider}.result_state"], ResultState.COMPLETED.value)
    action = indices(table[f"{decider}.action"], {a.value: i for i, a in enumerate(ACTIONS)})
    rows = np.flatnonzero(completed & (action >= 0))
    verdict = indices(table[f"{decider}.verdict"][rows], {v.value: i for i, v in enumerate(VERDICTS)}, 2)
    on_line = indices(table[f"{RECORDED}.action"][rows], {a.value: i for i, a in enumerate(ACTIONS)}, NO_ACTION)
    truth = table["truth"][rows]
    is_representative = representative_parts(on_line, truth, table["sampled_because"][rows])
    cell = on_line.astype(np.int64) * 3 + action[rows]
    is_counted, weight = weigh(cell, on_line, truth != UNKNOWN, is_representative)
    return View(
        table, decider, rows, action[rows], verdict, on_line,
        table[f"{decider}.score"][rows], table[f"{decider}.threshold"][rows],
        truth, is_representative, is_counted, weight,
    )  # fmt: skip


def representative_parts(on_line: Small, truth: Small, sampled_because: Column) -> Flags:
    """Return True for each label that may represent all parts of its recorded action, by its sampling reason."""
    reasons, names = codes(sampled_because)
    allowed = np.zeros((NO_ACTION + 1, len(names)), bool)
    for number in range(NO_ACTION + 1):
        which = REPRESENTATIVE_REASONS[ACTIONS[number]] if number < NO_ACTION else _BLIND
        allowed[number] = [name in which for name in names]
    if not names:
        return np.zeros(0, bool)
    return np.asarray((truth != UNKNOWN) & allowed[on_line, reasons], bool)


def weigh(cell: Integers, on_line: Small, labelled: Flags, is_representative: Flags) -> tuple[Flags, Floats]:
    """Return a flag for each label that speaks, and the number of parts that each label represents.

    Some cells have no label that speaks. Their parts are shared out among the labels of the same recorded action that
    may represent all of it. If there are no such labels either, nothing represents these parts, see
    `unrepresented_action`.
    """
    if not len(cell):
        return np.zeros(0, bool), np.zeros(0)
    cells = int(cell.max()) + 1
    parts = np.bincount(cell, minlength=cells)
    is_known = np.bincount(cell[labelled], minlength=cells) == parts
    is_counted = np.where(is_known[cell], labelled, is_representative)
    heard = np.bincount(cell[is_counted], minlength=cells)
    silent = np.bincount(on_line[heard[cell] == 0], minlength=NO_ACTION + 1)
    among = np.bincount(on_line[is_representative], minlength=NO_ACTION + 1)
    extra = np.divide(silent, among, out=np.zeros(NO_ACTION + 1), where=among > 0)
    weight = np.divide(parts, heard, out=np.zeros(cells), where=heard > 0)[cell]
    return is_counted, np.where(is_counted, weight, 0.0) + np.where(is_representative, extra[on_line], 0.0)


def unrepresented_action(view: View) -> str:
    """Return the reason why the labels do not represent all parts, one of `UNREPRESENTED`; empty if they do."""
    parts = np.bincount(view.on_line, minlength=NO_ACTION + 1)
    spoken_for = np.bincount(view.on_line, view.weight, NO_ACTION + 1)
    return next((UNREPRESENTED[number] for number in np.flatnonzero(spoken_for < parts - 0.5)), "")


def codes(column: Column) -> tuple[Integers, list[str | None]]:
    """Number the texts in order of appearance; return the number of each row, and the text of each number.

    Examples
    --------
    >>> numbers, names = codes(np.array(["b", None, "b"], object))
    >>> numbers.tolist(), names
    ([0, 1, 0], ['b', None])
    """
    known: dict[str | None, int] = {}
    found = np.fromiter((known.setdefault(text, len(known)) for text in column), np.int64, len(column))
    return found, list(known)


def indices(column: Column, known: Mapping[str, int], other: int = -1) -> Small:
    """Return the known number of each text; ``other`` for an unknown text."""
    return np.fromiter((known.get(text, other) for text in column), np.int8, len(column))


def equal(column: Column, text: str) -> Flags:
    """Return True for each row with the given text."""
    return np.fromiter((value == text for value in column), bool, len(column))
