"""Summary of a run: counts of its results."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from replay.reinspect.inspector import Result
from replay.reinspect.reproduce import Likeness
from schemas.records import ResultState

#: Maximum number of differences listed one by one.
FIRST = 20


@dataclass(slots=True)
class VariantCounts:
    """Counts of the decisions of one variant.

    Parameters
    ----------
    likeness
        Frames by their relation to the recorded decision, see `Likeness`.
    verdicts, actions
        Changes against the recorded decision, as ``OK>NOT_OK``, if both were inspected.
    failed
        Number of frames that could not be inspected.
    """

    likeness: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    failed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        counters = {"likeness": self.likeness, "verdicts": self.verdicts, "actions": self.actions}
        return {**{name: dict(counter) for name, counter in counters.items()}, "failed": self.failed}


@dataclass(slots=True)
class Summary:
    """Counts of a run.

    Parameters
    ----------
    names
        Names of the variants.
    selected
        Number of selected messages; ``unreadable`` of them are not valid frames.
    recorded
        Number of messages with a recorded decision.
    variants
        Counts of the variants, in their order.
    first
        First real differences: place, variant, fields with both values.
    """

    names: tuple[str, ...]
    selected: int = 0
    inspected: int = 0
    unreadable: int = 0
    recorded: int = 0
    variants: list[VariantCounts] = field(default_factory=list)
    first: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.variants:
            self.variants = [VariantCounts() for _ in self.names]

    @property
    def different(self) -> int:
        """Number of decisions that the same model and recipe do not reproduce."""
        return sum(counts.likeness[Likeness.DIFFERENT] for counts in self.variants)

    @property
    def compared(self) -> int:
        """Number of decisions that could be compared."""
        return self.different + sum(counts.likeness[Likeness.SAME] for counts in self.variants)

    def add(self, result: Result) -> None:
        """Count the result of one frame."""
        self.selected += 1
        self.recorded += result.recorded is not None
        if not result.variants:
            self.unreadable += 1
            return
        self.inspected += 1
        for name, counts, (now, difference) in zip(self.names, self.variants, result.variants, strict=True):
            kind = Likeness.SAME if difference is None else difference.kind
            counts.likeness[kind.value] += 1
            counts.failed += now.result_state is not ResultState.COMPLETED
            then = result.recorded
            if then is not None and {then.result_state, now.result_state} == {ResultState.COMPLETED}:
                if then.verdict is not now.verdict:
                    counts.verdicts[f"{then.verdict}>{now.verdict}"] += 1
                if then.action is not now.action:
                    counts.actions[f"{then.action}>{now.action}"] += 1
            if difference is not None and kind is Likeness.DIFFERENT and len(self.first) < FIRST:
                fields = {name: [repr(value)[:200] for value in pair] for name, pair in difference.fields.items()}
                self.first.append({"place": str(result.position), "variant": name, "fields": fields})

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; `from_json` reads it."""
        return {
            **{name: getattr(self, name) for name in ("selected", "inspected", "unreadable", "recorded", "first")},
            "variants": {name: counts.to_json() for name, counts in zip(self.names, self.variants, strict=True)},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Summary:
        """Return the summary from the values of `to_json`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the values are not a valid summary.
        """
        counts = [
            VariantCounts(Counter(row["likeness"]), Counter(row["verdicts"]), Counter(row["actions"]), row["failed"])
            for row in values["variants"].values()
        ]
        whole = {name: int(values[name]) for name in ("selected", "inspected", "unreadable", "recorded")}
        return cls(tuple(values["variants"]), **whole, variants=counts, first=list(values["first"]))
