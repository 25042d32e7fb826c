"""Input of `inspection analyse` and `inspection compare`: a table of a selection, or of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.terminal_text import shown
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from infra.cli.shared.selection_options import SelectionArgs
    from monitoring.drift.episodes import Episode
    from monitoring.quality.label_index import LabelIndex
    from replay.analysis.table import Table
    from replay.past.replayed_frame import ReplayedFrame
    from replay.reinspect.summary import Summary
    from transport.topic_ranges import OnStageProgress

#: Episodes of drift that began up to this time before the first frame are included.
_EPISODES_BEFORE_US = 30 * 86_400_000_000

Run = Annotated[
    Path | None,
    typer.Argument(help="Folder of a run of `inspection replay`, instead of a selection.", show_default=False),
]
TruthAttribute = Annotated[
    str | None,
    typer.Option(
        help="Attribute of frames that says the truth where no label does, as `label` does in the demo. All frames "
        "have it, so it counts as drawn at random."
    ),
]


@dataclass(frozen=True, slots=True)
class Data:
    """Table with the labels that were read for it, the episodes of drift in its time, and the counts of a run."""

    table: Table
    truths: LabelIndex
    episodes: list[Episode]
    summary: Summary | None = None
    is_finished: bool = True


def read_data(
    chosen: SelectionArgs, run: Path | None, truth_attribute: str | None, *, with_episodes: bool = False
) -> Data:
    """Read the recorded decisions of a selection, or the decisions of a run, with labels; show progress bars.

    Raises
    ------
    EmptySelection
        If nothing was selected.
    SettingsError
        If the caller names both a run and a selection.
    BrokerUnavailable, TopicMissing, NoSuchEpisode
        If a topic cannot be read, or the selected episode does not exist.
    """
    from infra.cli.shared.time_options import reading
    from monitoring.quality.label_index import LabelIndex
    from replay.analysis.table import build_table
    from replay.past.resolved_selection import read_labels, recorded_frames

    variants: tuple[str, ...] = ()
    summary, is_finished = None, True
    with reading() as show:
        if run is None:
            since_us = chosen.selection.from_us
            frames: Iterable[ReplayedFrame] = recorded_frames(chosen.source, chosen.selection, on_progress=show)
        else:
            if not chosen.selection.is_everything:
                raise SettingsError("a run has its own selection: name the run, or select frames")
            folder = open_run(run)
            variants, frames = folder.variants, folder.frames()
            since_us = folder.selection.from_us
            summary, is_finished = folder.progress().summary, folder.is_finished
        truths = LabelIndex(read_labels(chosen.source, since_us, on_progress=show))
        some = _some(frames, chosen, is_run=run is not None)
        table = build_table(some, truths, variants=variants, truth_attribute=truth_attribute)
        check_attribute(table, truth_attribute)
        episodes = episodes_of(chosen, int(table["captured_at_us"].min()), show) if with_episodes else []
    return Data(table, truths, episodes, summary, is_finished)


def _some(frames: Iterable[ReplayedFrame], chosen: SelectionArgs, *, is_run: bool) -> Iterator[ReplayedFrame]:
    from replay.past.resolved_selection import EmptySelection, empty_selection_error
    from schemas.records import Decision

    rows = iter(frames)
    first = next(rows, None)
    if first is None:
        raise (
            EmptySelection("the run has no frame") if is_run else empty_selection_error(chosen.source, record=Decision)
        )
    return chain([first], rows)


def check_attribute(table: Table, name: str | None) -> None:
    """Refuse an attribute that no frame has: it is misspelt, and would tell nothing.

    Raises
    ------
    SettingsError
        If no frame has the attribute; the message lists the existing names.
    """
    if name is None or f"attribute.{name}" in table.columns:
        return
    names = [column.removeprefix("attribute.") for column in table.columns if column.startswith("attribute.")]
    there = f"there are {', '.join(shown(one, 60) for one in names[:10])}" if names else "they have none at all"
    raise SettingsError(f"--truth-attribute {shown(name, 60)}: no frame has this attribute; {there}")


def warn_unfinished(data: Data, found: Any) -> Any:
    """Return an analysis or a comparison, with a warning if its run was not finished."""
    if data.is_finished:
        return found
    why = "the run was stopped before its end: what it has not inspected is missing here; inspection replay --resume"
    return replace(found, warnings=(*found.warnings, why))


def episodes_of(chosen: SelectionArgs, first_us: int, show: OnStageProgress) -> list[Episode]:
    """Return the episodes of drift that may affect frames captured from this time on."""
    from monitoring.drift.episodes import build_episodes
    from schemas.records import DriftEvent
    from transport.topic_ranges import TimeRange

    within = TimeRange(max(0, first_us - _EPISODES_BEFORE_US))
    events = chosen.source.records(DriftEvent, within, on_progress=lambda *at: show("drift", *at))
    return build_episodes(event.record for event in events if event.record is not None)


def open_run(path: Path) -> Any:
    """Open the folder of a run of `inspection replay`."""
    from replay.reinspect.run_folder import RunFolder

    return RunFolder.open(path)
