"""One decider's inspected rows as numbers, and which of their labels speak for how many parts.

Labels are no sample of all parts: rejected ones are looked at, accepted ones are shipped. What the *line* did with a
part is why it has a label, so the parts are divided by that (the recorded action) and by what the decider does with
them, into cells. A label that speaks for its cell (the rules are those of `inspection quality`) has the weight
parts / labels of the cell: D. G. Horvitz and D. J. Thompson, JASA 47, 1952. For the recorded decider the cells are its
actions, and the estimate is that of `stream_processors.quality.estimates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from replay.table import DEFECTIVE, GOOD, RECORDED, UNKNOWN, Column, Table
from schemas.errors import SettingsError
from schemas.records import Action, ResultState, Verdict
from stream_processors.quality.tally import SPEAKS_FOR_ALL

ACTIONS = (Action.ACCEPT, Action.REJECT, Action.REVIEW)
ACCEPT, REJECT, REVIEW = range(3)
VERDICTS = (Verdict.OK, Verdict.NOT_OK, Verdict.NOT_DECIDABLE)
OK, NOT_OK = 0, 1
#: Of a part on which the line decided nothing.
NO_ACTION = 3
_BLIND = frozenset({"random"})
#: By recorded action; the words of `stream_processors.quality.estimates`.
UNHEARD = (
    "no accepted part was labelled at random",
    "no rejected part was labelled",
    "no part sent to review was labelled",
    "no part without a decision was labelled at random",
)

Flags = NDArray[np.bool_]
Small = NDArray[np.int8]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The inspected rows of a decider; arrays of one length, `rows` says which of the table they are.

    Parameters
    ----------
    action, verdict
        Of the decider: indices into `ACTIONS`, `VERDICTS`.
    on_line
        Recorded action: index into `ACTIONS`, or `NO_ACTION`.
    score, threshold
        NaN where there is none.
    truth
        `UNKNOWN`, `GOOD`, `DEFECTIVE` of `replay.table`.
    may_speak
        Whether the label was drawn in a way that lets it speak for all parts of its recorded action.
    speaks
        Whether it does: also where every part of its cell has a label.
    weight
        Parts that a label speaks for; 0 where it does not.
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
    may_speak: Flags
    speaks: Flags
    weight: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labelled(self) -> Flags:
        """Rows with a label."""
        return np.asarray(self.truth != UNKNOWN, bool)

    @property
    def is_escape(self) -> Flags:
        """Defective and accepted."""
        return np.asarray((self.truth == DEFECTIVE) & (self.action == ACCEPT), bool)

    @property
    def is_overkill(self) -> Flags:
        """Good and rejected."""
        return np.asarray((self.truth == GOOD) & (self.action == REJECT), bool)

    @property
    def cell(self) -> Integers:
        """Cell of each row, 0 to 11: what the line did, and what the decider does."""
        return self.on_line.astype(np.int64) * 3 + self.action

    def column(self, name: str) -> Column:
        """A column of the table, of these rows."""
        return self.table[name][self.rows]


def see(table: Table, decider: str = RECORDED) -> View:
    """The view of a decider.

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
    may_speak = speakers(on_line, truth, table["sampled_because"][rows])
    cell = on_line.astype(np.int64) * 3 + action[rows]
    speaks, weight = weigh(cell, on_line, truth != UNKNOWN, may_speak)
    return View(
        table, decider, rows, action[rows], verdict, on_line,
        table[f"{decider}.score"][rows], table[f"{decider}.threshold"][rows], truth, may_speak, speaks, weight,
    )  # fmt: skip


def speakers(on_line: Small, truth: Small, because: Column) -> Flags:
    """Which labels may speak for all parts of their recorded action, by the reason that they give."""
    reasons, names = codes(because)
    allowed = np.zeros((NO_ACTION + 1, len(names)), bool)
    for number in range(NO_ACTION + 1):
        which = SPEAKS_FOR_ALL[ACTIONS[number]] if number < NO_ACTION else _BLIND
        allowed[number] = [name in which for name in names]
    if not names:
        return np.zeros(0, bool)
    return np.asarray((truth != UNKNOWN) & allowed[on_line, reasons], bool)


def weigh(cell: Integers, on_line: Small, labelled: Flags, may_speak: Flags) -> tuple[Flags, Floats]:
    """Which labels speak, and for how many parts each.

    Parts of a cell in which no label speaks are shared out among the labels of the same recorded action that may speak
    for all of it; where there are none either, nothing speaks for them, see `unheard`.
    """
    if not len(cell):
        return np.zeros(0, bool), np.zeros(0)
    cells = int(cell.max()) + 1
    parts = np.bincount(cell, minlength=cells)
    is_known = np.bincount(cell[labelled], minlength=cells) == parts
    speaks = np.where(is_known[cell], labelled, may_speak)
    heard = np.bincount(cell[speaks], minlength=cells)
    silent = np.bincount(on_line[heard[cell] == 0], minlength=NO_ACTION + 1)
    among = np.bincount(on_line[may_speak], minlength=NO_ACTION + 1)
    extra = np.divide(silent, among, out=np.zeros(NO_ACTION + 1), where=among > 0)
    weight = np.divide(parts, heard, out=np.zeros(cells), where=heard > 0)[cell]
    return speaks, np.where(speaks, weight, 0.0) + np.where(may_speak, extra[on_line], 0.0)


def unheard(view: View) -> str:
    """Why the labels do not speak for all parts, one of `UNHEARD`; empty if they do."""
    parts = np.bincount(view.on_line, minlength=NO_ACTION + 1)
    spoken_for = np.bincount(view.on_line, view.weight, NO_ACTION + 1)
    return next((UNHEARD[number] for number in np.flatnonzero(spoken_for < parts - 0.5)), "")


def codes(column: Column) -> tuple[Integers, list[str | None]]:
    """Each text as a number, and the text of each number, in order of appearance.

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
    """Each text as the number that it has; ``other`` where it has none."""
    return np.fromiter((known.get(text, other) for text in column), np.int8, len(column))


def equal(column: Column, text: str) -> Flags:
    """Where a column has a text."""
    return np.fromiter((value == text for value in column), bool, len(column))
