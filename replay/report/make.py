"""Report of an analysis, with pictures from topics or the archive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from models.package import Model
from replay.analysis.comparison_results import Comparison
from replay.analysis.results import Analysis
from replay.analysis.table import Table
from replay.past.reads import read_frames, recorded_frames
from replay.past.replayed_frame import ReplayedFrame
from replay.past.selection import Selection, TimeBasis
from replay.past.source import Source
from replay.report.gallery import Gallery
from replay.report.page import write_report
from replay.report.sentences import DataQuality
from transport.image_store import ImageStore


def make_report(
    path: Path,
    analysis: Analysis,
    table: Table,
    source: Source,
    *,
    comparison: Comparison | None = None,
    replayed: Iterable[ReplayedFrame] | None = None,
    model: Model | None = None,
    store: ImageStore | None = None,
    selection: Selection | None = None,
    quality: DataQuality | None = None,
    title: str = "",
    each: int = 8,
    on_progress: Callable[[int, int], object] = lambda done, count: None,
) -> Gallery:
    """Write the report of an analysis with a gallery; return the gallery.

    Only the frames of the gallery are read, from the topics or the archive. The report takes about 0.3 s, and with a
    classification model 50 inferences for each picture.

    Parameters
    ----------
    table
        The analysed table.
    replayed
        Decisions whose boxes are drawn, such as those of `RunFolder.frames`; None to read the recorded decisions.
    model
        Model of the analysis, for heat maps; None for no heat maps.
    store
        Store of the images that are too large for the topic.
    each
        Number of pictures of each kind.
    on_progress
        Called with the number of pictures made, and of pictures in all.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If a topic cannot be read.
    SettingsError
        See `write_report`.
    """
    gallery = Gallery.choose(analysis, table, comparison, each=each)
    if gallery.rows:
        gallery = gallery.with_pictures(
            read_frames(source, gallery.positions),
            _decisions(source, gallery) if replayed is None else replayed,
            decider=table.deciders.index(analysis.decider),
            model=model,
            store=store,
            on_progress=on_progress,
        )
    write_report(
        path, analysis, table, comparison=comparison, gallery=gallery, selection=selection, quality=quality,
        title=title, heat_maps_of="" if model is None else f"{model.name} {model.version}",
    )  # fmt: skip
    return gallery


def _decisions(source: Source, gallery: Gallery) -> Iterator[ReplayedFrame]:
    captured = gallery.table["captured_at_us"][list(gallery.rows)]
    return recorded_frames(
        source,
        Selection(
            from_us=int(captured.min()), to_us=int(captured.max()) + 1, time_basis=TimeBasis.CAPTURED,
            frames=tuple(sorted(gallery.frame_ids)),
        ),
    )  # fmt: skip
