"""Running counts of one slice: parts by action; labels by action, verdict, truth and reason. All can be undone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from river import metrics

from monitoring.checked import flag, items, text, whole
from monitoring.quality.estimates import Stratum
from monitoring.quality.outcome import Outcome, reason
from schemas.records import Action, Verdict

#: Reasons whose labels are representative of all parts of an action. A rejected part counts as looked at because of the
#: rejection unless the label has another reason; for an accepted part only ``random`` means that it was chosen blindly.
REPRESENTATIVE_REASONS = {
    Action.ACCEPT: frozenset({"random"}),
    Action.REJECT: frozenset({"random", "reject", "unstated"}),
    Action.REVIEW: frozenset({"random", "review", "unstated"}),
}

#: Most defects that a slice distinguishes; all further defects together are ``other``.
MAX_DEFECTS = 50
OTHER = "other"
#: Most rows of a state; actions, reasons and `MAX_DEFECTS` allow no more.
_MAX_ROWS = 2000
UNNAMED = "unnamed"

_Cell = tuple[Action, Verdict, bool, str]


@dataclass(slots=True)
class SliceCounts:
    """Counts of one slice; bounded by the number of actions, verdicts, reasons and `MAX_DEFECTS`.

    ``parts`` are completed inspections by action, ``cells`` their labels by action, verdict, is-defective and reason,
    ``defects`` the defective ones by action, reason and defect.
    """

    parts: Counter[Action] = field(default_factory=Counter)
    cells: Counter[_Cell] = field(default_factory=Counter)
    defects: Counter[tuple[Action, str, str]] = field(default_factory=Counter)

    def add(self, outcome: Outcome, count: int = 1) -> None:
        """Count an outcome, or with -1 take it back; never below zero, in case its first count has been forgotten."""
        summary, truth = outcome.decision, outcome.truth
        if not summary.is_completed:
            return
        self.parts[summary.action] = max(0, self.parts[summary.action] + count)
        if truth is None:
            return
        cell = (summary.action, summary.verdict, truth.is_defective, truth.sampled_because)
        self.cells[cell] = max(0, self.cells[cell] + count)
        if truth.is_defective:
            key = (summary.action, truth.sampled_because, self._defect(truth.defect or UNNAMED))
            self.defects[key] = max(0, self.defects[key] + count)

    def _defect(self, name: str) -> str:
        names = self.defect_names()
        return name if name in names or len(names) < MAX_DEFECTS else OTHER

    def defect_names(self) -> set[str]:
        """Return the defects that labels name."""
        return {name for _, _, name in self.defects}

    def of_defect(self, name: str, action: Action | None = None) -> int:
        """Return the number of labels that name a defect."""
        return sum(n for (done, _, defect), n in self.defects.items() if action in (None, done) and defect == name)

    def labelled(self, action: Action | None = None, *, defective: bool | None = None) -> int:
        """Return the number of labels, optionally of one action or truth."""
        return sum(
            count
            for (done, _, is_defective, _), count in self.cells.items()
            if action in (None, done) and defective in (None, is_defective)
        )

    def strata(self, defect: str | None = None) -> dict[Action, Stratum]:
        """Return the strata for the estimators; with a defect, only this defect counts as defective."""
        return {action: self._stratum(action, defect) for action in Action}

    def _stratum(self, action: Action, defect: str | None) -> Stratum:
        parts, labelled = self.parts[action], self.labelled(action)
        # If every part has a label there is nothing to estimate: the reasons for the labels no longer matter.
        reasons = (
            REPRESENTATIVE_REASONS[action]
            if labelled < parts
            else {sampled_because for *_, sampled_because in self.cells}
        )
        cells = [(key[2], n) for key, n in self.cells.items() if key[0] is action and key[3] in reasons]
        if defect is None:
            bad = sum(n for is_defective, n in cells if is_defective)
        else:
            found = self.defects.items()
            bad = sum(n for key, n in found if key[0] is action and key[1] in reasons and key[2] == defect)
        return Stratum(parts, sum(n for _, n in cells), bad)

    def river(self) -> dict[str, float]:
        """Return River's metrics of the verdict, on the labelled parts, unweighted; "defective" is the positive class.

        A verdict NOT_DECIDABLE counts as "defective", as the gate treats it.
        """
        confusion = metrics.ConfusionMatrix()
        for (_, verdict, is_defective, _), count in self.cells.items():
            if count:
                confusion.update(is_defective, verdict is not Verdict.OK, count)
        if not confusion.total_weight:
            return {}
        kinds: dict[str, Any] = {
            "accuracy": metrics.Accuracy,
            "balanced_accuracy": metrics.BalancedAccuracy,
            "precision": metrics.Precision,
            "recall": metrics.Recall,
            "mcc": metrics.MCC,
        }
        return {name: round(float(kind(cm=confusion).get()), 4) for name, kind in kinds.items()}

    def to_state(self) -> list[Any]:
        """Return the whole state as JSON."""
        return [[[*key, n] if isinstance(key, tuple) else [key, n] for key, n in counter.items() if n]
                for counter in (self.parts, self.cells, self.defects)]  # fmt: skip

    @classmethod
    def from_state(cls, state: list[Any]) -> SliceCounts:
        """Return the counts of a state; raise ValueError for anything else."""
        parts, cells, defects = (items(rows, _MAX_ROWS) for rows in items(state, 3, 3))
        return cls(
            Counter({Action(text(a)): whole(n) for a, n in (items(row, 2, 2) for row in parts)}),
            Counter({
                (Action(text(a)), Verdict(text(v)), flag(bad), reason(text(sampled_because))): whole(n)
                for a, v, bad, sampled_because, n in (items(row, 5, 5) for row in cells)
            }),
            Counter({
                (Action(text(a)), reason(text(sampled_because)), text(defect)): whole(n)
                for a, sampled_because, defect, n in (items(row, 4, 4) for row in defects)
            }),
        )  # fmt: skip
