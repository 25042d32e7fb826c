"""HTML report of a dataset: its analysis, and a comparison of deciders if it has several."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.package import Model, default_model_path, load_model
from replay.analysis.comparison import compare
from replay.analysis.comparison_results import Comparison
from replay.analysis.results import Analysis
from replay.dataset import Dataset
from replay.past.replayed_frame import RECORDED
from replay.past.selection import Selection
from replay.past.source import Source
from replay.reinspect.run_folder import RunFolder
from replay.report.make import make_report
from replay.report.sentences import DataQuality
from transport.image_store import ImageStore
from transport.topic_ranges import OnStageProgress


def write_html(
    path: Path,
    data: Dataset,
    analysis: Analysis,
    source: Source,
    selection: Selection,
    run: Path | None,
    model: Model | None,
    store: ImageStore,
    *,
    comparison: Comparison | None = None,
    on_progress: OnStageProgress,
) -> None:
    """Write the report; the decisions of a run are compared with the line's, for parts that both have inspected.

    Parameters
    ----------
    source, store
        Source of the frames, and store of the images, of the pictures.
    selection, run
        Selection of the dataset; folder of its run, whose selection applies instead.
    model
        Model for the heat maps. None: the report has no heat maps.
    comparison
        Comparison to show. None: a run is compared with the recorded decisions.
    on_progress
        Called with ``pictures``, frames done, frames in all.
    """
    if comparison is None and analysis.decider != RECORDED:
        comparison = compare(data.table, RECORDED, analysis.decider)
        comparison = None if _is_the_same_again(data, comparison) else comparison
    folder = None if run is None else RunFolder.open(run)
    if folder is not None:
        selection = folder.selection
    make_report(
        path,
        analysis,
        data.table,
        source,
        comparison=comparison,
        replayed=None if folder is None else folder.frames(),
        model=model,
        store=store,
        selection=None if selection.is_everything else selection,
        quality=_quality(data),
        on_progress=lambda *at: on_progress("pictures", *at),
    )


def _is_the_same_again(data: Dataset, comparison: Comparison) -> bool:
    """Return True if there is nothing to compare: no part, or a decider that only repeated the line's decisions."""
    one, other = comparison.champion, comparison.challenger
    both = np.isfinite(data.table[f"{one}.score"]) & np.isfinite(data.table[f"{other}.score"])
    return not comparison.changed_total and all(
        np.array_equal(data.table[f"{one}.{name}"][both], data.table[f"{other}.{name}"][both], equal_nan=True)
        for name in ("score", "threshold")
    )


def heat_model(path: Path | None, analysis: Analysis) -> Model | None:
    """Return the model for heat maps: the named one, else the model that ships if it made the decisions, else None."""
    if path is not None:
        return load_model(path)
    model = load_model(default_model_path())
    return model if f"{model.name} {model.version} {model.sha256[:8]}" in analysis.extent.models else None


def _quality(data: Dataset) -> DataQuality:
    """Return the counts of labels and of a run, with the decisions of a recorded model that were reproduced."""
    summary = data.summary
    is_compared = summary is not None and summary.compared > 0
    return DataQuality(
        labels=data.truths.counts,
        labels_waiting=data.truths.waiting,
        unreadable=None if summary is None else summary.unreadable,
        reproduced=summary.compared - summary.different if summary is not None and is_compared else None,
        not_reproduced=summary.different if summary is not None and is_compared else None,
        differences=() if summary is None else tuple(_difference(row) for row in summary.first),
    )


def _difference(row: dict[str, object]) -> str:
    fields = row["fields"]
    text = (
        "; ".join(f"{name} {pair[0]} then, {pair[1]} now" for name, pair in fields.items())
        if isinstance(fields, dict)
        else ""
    )
    return f"{row['place']} by {row['variant']}: {text}"
