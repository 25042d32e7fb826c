"""Full analysis of one decider on one stretch, computed from a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from monitoring.drift.episodes import Episode
from replay.analysis.calibration import calibrate
from replay.analysis.duplicates import duplicates_of
from replay.analysis.latency import latency_of
from replay.analysis.points import Labelled, curve_of
from replay.analysis.rankings import rankings_of
from replay.analysis.rates import confusion_of, rates_of
from replay.analysis.recommend import DEFAULT_COST_RATIO, recommend, threshold_in_use
from replay.analysis.results import Analysis, Duplicates, Extent, Rates
from replay.analysis.slices import find_slices
from replay.analysis.table import DEFECTIVE, Table
from replay.analysis.time_line import time_line_of
from replay.analysis.view import ACCEPT, View, codes, decider_view, equal, unrepresented_action
from replay.past.replayed_frame import RECORDED
from schemas.errors import SettingsError
from schemas.records import ResultState

#: Share of parts without an inspection above which the analysis warns.
_MANY_MISSING = 0.01
#: Factor between two cameras' label rates of accepted parts from which on their labels are not one sample.
_UNEVEN = 3.0


def analyse(
    table: Table,
    decider: str = RECORDED,
    *,
    cost_ratio: float = DEFAULT_COST_RATIO,
    truth_attribute: str | None = None,
    episodes: Iterable[Episode] = (),
) -> Analysis:
    """Analyse one decider of a table. The same table always returns the same result.

    Parameters
    ----------
    decider
        One of ``table.deciders``.
    cost_ratio
        Number of overkills that cost as much as one escape; above 0.
    truth_attribute
        Attribute passed to `replay.analysis.table.build_table`; no slices are made of it.
    episodes
        Drift episodes for the time line.

    Raises
    ------
    SettingsError
        If the table has no such decider or no row, or if the cost ratio is not a positive number.
    """
    if not (np.isfinite(cost_ratio) and cost_ratio > 0):
        raise SettingsError(f"cost ratio {cost_ratio}: how many overkills an escape costs, above 0")
    view = decider_view(table, decider)
    if not len(table):
        raise SettingsError("nothing to analyse: no frame was selected")
    labels = Labelled.of(view)
    recommendation = recommend(view, labels, cost_ratio)
    marks = threshold_in_use(view), recommendation.threshold
    rates, duplicates = rates_of(view), duplicates_of(view)
    extent = _extent(view)
    return Analysis(
        decider=decider,
        deciders=table.deciders,
        extent=extent,
        confusion=confusion_of(view),
        rates=rates,
        curve=curve_of(view, labels, cost_ratio, *marks) if len(labels) else None,
        recommendation=recommendation,
        calibration=calibrate(view, labels),
        slices=find_slices(view, truth_attribute),
        latency=latency_of(table),
        time_line=time_line_of(view, episodes),
        duplicates=duplicates,
        rankings=rankings_of(view),
        warnings=tuple(_warnings(view, extent, rates, duplicates)),
    )


def _extent(view: View) -> Extent:
    table = view.table
    states = table[f"{view.decider}.result_state"]
    captured = table["captured_at_us"]
    _, models = codes(view.column(f"{view.decider}.model"))
    _, lots = codes(table["lot"])
    return Extent(
        frames=len(table),
        inspected=len(view),
        aborted=int(equal(states, ResultState.ABORTED.value).sum()),
        failed=int(equal(states, ResultState.FAILED.value).sum()),
        undecided=sum(state is None for state in states),
        labelled=int(view.labelled.sum()),
        labelled_defective=int((view.truth == DEFECTIVE).sum()),
        random_accepted=int((view.labelled & view.is_representative & (view.on_line == ACCEPT)).sum()),
        cameras=tuple(sorted(camera or "" for camera in codes(table["camera"])[1])),
        lots=len([lot for lot in lots if lot is not None]),
        models=tuple(sorted(model or "" for model in models)),
        from_us=int(captured.min()),
        to_us=int(captured.max()),
    )


def _warnings(view: View, extent: Extent, rates: Rates, duplicates: Duplicates) -> Iterator[str]:
    if not extent.inspected:
        yield f"{view.decider} inspected none of the {extent.frames} frames: there is nothing to judge"
        return
    if not extent.labelled:
        yield "no part has a label, so nobody knows which decisions were wrong; `inspection review` says what to label"
    elif extent.labelled_defective in (0, extent.labelled):
        truth, other = ("defective", "good") if extent.labelled_defective else ("good", "defective")
        yield f"all {extent.labelled} labels say {truth}: without a {other} part only half of the errors can be seen"
    elif why := unrepresented_action(view):
        yield (
            f"{why}: rates and thresholds of all parts cannot be estimated; label some that are drawn blindly, with "
            "`--because random`"
        )
    missing = extent.aborted + extent.failed
    if missing > _MANY_MISSING * extent.frames:
        yield f"{missing} of {extent.frames} frames were not inspected; they count in no rate"
    if not np.isfinite(view.score).any():
        yield "no decision has a score: thresholds and calibration cannot be looked at"
    elif len(extent.models) > 1:
        yield f"{len(extent.models)} models decided: their scores may not be comparable, look at one camera or model"
    uneven = _unevenly_labelled(view)
    if uneven:
        yield (
            f"accepted parts of {uneven[0]} have random labels {uneven[2]:.0f} times as often as those of {uneven[1]}: "
            "look at the figures of each camera, those of all lean to the first"
        )
    if duplicates.contradictory_parts:
        yield f"{duplicates.contradictory_parts} parts were judged both OK and NOT_OK in different frames"


def _unevenly_labelled(view: View) -> tuple[str, str, float] | None:
    """Return the cameras with the most and the fewest random labels among accepted parts, if they differ by much."""
    group, cameras = codes(view.column("camera"))
    accepted = view.on_line == ACCEPT
    parts = np.bincount(group[accepted], minlength=len(cameras))
    drawn = np.bincount(group[accepted & view.is_representative], minlength=len(cameras))
    enough = np.flatnonzero((parts >= 100) & (np.maximum(drawn, parts * drawn.sum() / max(1, parts.sum())) >= 10))
    if len(enough) < 2:
        return None
    shares = (drawn[enough] + 0.5) / (parts[enough] + 1)
    most, fewest = int(enough[shares.argmax()]), int(enough[shares.argmin()])
    factor = float(shares.max() / shares.min())
    return (cameras[most] or "", cameras[fewest] or "", factor) if factor >= _UNEVEN else None
