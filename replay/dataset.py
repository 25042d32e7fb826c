"""Input of an analysis or a comparison: a table of a selection, or of a run, with labels and episodes of drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from monitoring.drift.episodes import Episode, build_episodes
from monitoring.quality.label_index import LabelIndex
from replay.analysis.table import Table, build_table
from replay.past.reads import empty_selection_error, read_labels, recorded_frames
from replay.past.replayed_frame import ReplayedFrame
from replay.past.resolved_selection import EmptySelection
from replay.past.selection import Selection
from replay.past.source import Source
from replay.reinspect.run_folder import RunFolder
from replay.reinspect.summary import Summary
from schemas.errors import SettingsError
from schemas.records import Decision, DriftEvent
from schemas.text import shown
from transport.topic_ranges import OnStageProgress, TimeRange

#: Episodes of drift that began up to this time before the first frame are included.
_EPISODES_BEFORE_US = 30 * 86_400_000_000


@dataclass(frozen=True, slots=True)
class Dataset:
    """Table with the labels that were read for it, the episodes of drift in its time, and the counts of a run.

    ``unsigned`` is one line about labels without the signature that the source asks for, if there are any.
    """

    table: Table
    truths: LabelIndex
    episodes: list[Episode]
    summary: Summary | None = None
    is_finished: bool = True
    unsigned: str | None = None


def read_data(
    source: Source,
    selection: Selection,
    run: Path | None,
    truth_attribute: str | None,
    *,
    with_episodes: bool = False,
    on_progress: OnStageProgress,
) -> Dataset:
    """Read the recorded decisions of a selection, or the decisions of a run, with labels.

    Parameters
    ----------
    source
        Source of the recorded messages.
    selection
        Selection of frames; with a run it must be empty, because the run has its own.
    run
        Folder of a run; None: recorded decisions.
    truth_attribute
        Attribute of frames that says the truth of parts without a label.
    on_progress
        Called with the name of the data being read, offsets done, offsets in all.

    Raises
    ------
    EmptySelection
        If nothing was selected.
    SettingsError
        If the caller names both a run and a selection.
    BrokerUnavailable, TopicMissing, NoSuchEpisode
        If a topic cannot be read, or the selected episode does not exist.
    """
    variants: tuple[str, ...] = ()
    summary, is_finished = None, True
    if run is None:
        since_us = selection.from_us
        frames: Iterable[ReplayedFrame] = recorded_frames(source, selection, on_progress=on_progress)
    else:
        if not selection.is_everything:
            raise SettingsError("a run has its own selection: name the run, or select frames")
        folder = RunFolder.open(run)
        variants, frames = folder.variants, folder.frames()
        since_us = folder.selection.from_us
        summary, is_finished = folder.progress().summary, folder.is_finished
    truths = LabelIndex(read_labels(source, since_us, on_progress=on_progress))
    some = _some(frames, source, is_run=run is not None)
    table = build_table(some, truths, variants=variants, truth_attribute=truth_attribute)
    check_attribute(table, truth_attribute)
    first_us = int(table["captured_at_us"].min())
    episodes = episodes_of(source, first_us, on_progress=on_progress) if with_episodes else []
    return Dataset(table, truths, episodes, summary, is_finished, unsigned_labels(source))


def _some(frames: Iterable[ReplayedFrame], source: Source, *, is_run: bool) -> Iterator[ReplayedFrame]:
    """Yield the frames; raise EmptySelection if there is no frame."""
    rows = iter(frames)
    first = next(rows, None)
    if first is None:
        raise EmptySelection("the run has no frame") if is_run else empty_selection_error(source, record=Decision)
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


def with_warnings(data: Dataset, found: Any) -> Any:
    """Return an analysis or a comparison, with a warning if its run was not finished, or labels are not signed."""
    why = "the run was stopped before its end: what it has not inspected is missing here; inspection replay --resume"
    warnings = [*([] if data.is_finished else [why]), *([] if data.unsigned is None else [data.unsigned])]
    return replace(found, warnings=(*found.warnings, *warnings))


def unsigned_labels(source: Source) -> str | None:
    """Return one line about the labels that the source has found without a signature; None if it has found none."""
    return None if source.label_signatures is None else source.label_signatures.summary


def episodes_of(source: Source, first_us: int, *, on_progress: OnStageProgress) -> list[Episode]:
    """Return the episodes of drift that may affect frames captured from this time on."""
    within = TimeRange(max(0, first_us - _EPISODES_BEFORE_US))
    events = source.records(DriftEvent, within, on_progress=lambda *at: on_progress("drift", *at))
    return build_episodes(event.record for event in events if event.record is not None)
