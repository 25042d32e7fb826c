"""Running figures of one camera: escapes and overkill, by camera, lot, class and model."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from monitoring.checked import fields, items, mapping, text, whole
from monitoring.quality.estimates import Estimate, accuracy, escape_rate, overkill_rate, share
from monitoring.quality.outcome import Change, Outcome
from monitoring.quality.slice_counts import SliceCounts
from schemas.records import Action

GroupBy = Literal["camera", "lot", "class", "model"]
BY: tuple[GroupBy, ...] = get_args(GroupBy)
#: Most lots and most models that are kept: those that decisions or labels have named last.
MAX_SLICES = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one slice.

    Parameters
    ----------
    by, name
        Slice: ``camera s/c``, ``lot L7``, ``class crack``, ``model cells 1.2``.
    parts, labelled, escapes, overkill
        Completed inspections; labelled ones; of those, defective and accepted, good and rejected.
    escape_rate, overkill_rate, accuracy
        Estimates for all parts, see `estimates`: weighted, since labels are not spread evenly.
    escapes_among_accepts
        Share of defective parts among those accepted and labelled at random: the parts that leave the line.
    overkill_among_rejects
        Share of good parts among those rejected and labelled.
    labelled_only
        River's metrics of the labelled parts, unweighted: not an estimate for the others.
    """

    by: GroupBy
    name: str
    parts: int
    labelled: int
    escapes: int
    overkill: int
    escape_rate: Estimate
    overkill_rate: Estimate
    accuracy: Estimate
    escapes_among_accepts: Estimate
    overkill_among_rejects: Estimate
    labelled_only: dict[str, float] = field(default_factory=dict)


class QualityFigures:
    """Counter of the join's outcomes; it takes back the outcomes that the join corrects.

    Parameters
    ----------
    camera
        ``station/camera``, the name of the widest slice.
    """

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._all = SliceCounts()
        self._slices: dict[str, OrderedDict[str, SliceCounts]] = {"lot": OrderedDict(), "model": OrderedDict()}
        #: Number of lots and models that made room for newer ones.
        self.dropped: Counter[str] = Counter()

    def apply(self, change: Change) -> None:
        """Count the new outcome of a change, and take back the old one."""
        if change.before is not None:
            self._add(change.before, -1)
        self._add(change.after, 1)

    def figures(self, by: GroupBy = "camera") -> list[Figures]:
        """Return the figures of each slice, sorted by name.

        A class is a defect that labels name: its escape rate is that of the parts with this defect, and it has no
        overkill.
        """
        if by == "camera":
            return [_figures(by, self._camera, self._all)]
        if by == "class":
            names = sorted(self._all.defect_names())
            return [_of_defect(name, self._all) for name in names if self._all.of_defect(name)]
        slices = sorted(self._slices[by].items())
        return [_figures(by, name, counts) for name, counts in slices if counts.parts.total()]

    def to_state(self) -> dict[str, Any]:
        """Return the whole state as JSON."""
        slices = {by: [[name, counts.to_state()] for name, counts in of.items()] for by, of in self._slices.items()}
        return {"all": self._all.to_state(), "slices": slices, "dropped": dict(self.dropped)}

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from a state; raise ValueError for anything else."""
        state = fields(state, ("all", "slices", "dropped"))
        self._all = SliceCounts.from_state(state["all"])
        slices = fields(state["slices"], self._slices)
        for by in self._slices:
            rows = [items(row, 2, 2) for row in items(slices[by], MAX_SLICES)]
            self._slices[by] = OrderedDict((text(name), SliceCounts.from_state(counts)) for name, counts in rows)
        self.dropped = Counter({name: whole(count) for name, count in mapping(state["dropped"], 10).items()})

    def _add(self, outcome: Outcome, count: int) -> None:
        summary = outcome.decision
        if not summary.is_completed:
            return
        self._all.add(outcome, count)
        names = {
            "lot": summary.lot,
            "model": f"{summary.model.name} {summary.model.version} {summary.model.sha256[:8]}",
        }
        for by, name in names.items():
            slices = self._slices[by]
            if name is None or (count < 0 and name not in slices):
                continue
            slices.setdefault(name, SliceCounts()).add(outcome, count)
            slices.move_to_end(name)
            if len(slices) > MAX_SLICES:
                slices.popitem(last=False)
                self.dropped[by] += 1


def _figures(by: GroupBy, name: str, counts: SliceCounts) -> Figures:
    strata = counts.strata()
    accepts, rejects = strata[Action.ACCEPT], strata[Action.REJECT]
    return Figures(
        by,
        name,
        counts.parts.total(),
        counts.labelled(),
        counts.labelled(Action.ACCEPT, defective=True),
        counts.labelled(Action.REJECT, defective=False),
        escape_rate(strata),
        overkill_rate(strata),
        accuracy(strata),
        share(accepts.defective, accepts.labelled, "no accepted part was labelled at random"),
        share(rejects.labelled - rejects.defective, rejects.labelled, "no rejected part was labelled"),
        counts.river(),
    )


def _of_defect(name: str, counts: SliceCounts) -> Figures:
    strata = counts.strata(name)
    accepts = strata[Action.ACCEPT]
    none = Estimate(None, why_not="cannot be estimated: overkill has no defect")
    return Figures(
        "class",
        name,
        counts.parts.total(),
        counts.of_defect(name),
        counts.of_defect(name, Action.ACCEPT),
        0,
        escape_rate(strata),
        none,
        Estimate(None, why_not="cannot be estimated: good parts belong to no class"),
        share(accepts.defective, accepts.labelled, "no accepted part was labelled at random"),
        none,
    )
