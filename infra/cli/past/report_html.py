"""HTML report of `inspection analyse --html` and `inspection compare --html`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli.shared.options import image_store_uri
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from infra.cli.past.analysis_data import Data
    from infra.cli.shared.selection_options import SelectionArgs
    from models.package import Model
    from replay.analysis import Analysis
    from replay.analysis.comparison_results import Comparison
    from replay.past.replayed_frame import ReplayedFrame
    from replay.report import DataQuality


def check_html(path: Path) -> None:
    """Refuse, at once, a report that could not be written at the end.

    Raises
    ------
    SettingsError
        If the file has no existing folder, if it is itself a folder, or if a package for reports is not installed.
    """
    from replay.report.page import check_installed

    if not path.parent.is_dir():
        raise SettingsError(f"{path}: {path.parent} is no folder")
    if path.is_dir():
        raise SettingsError(f"{path}: is a folder; name a file for the report")
    check_installed()


def write_html(
    path: Path,
    data: Data,
    analysis: Analysis,
    chosen: SelectionArgs,
    run: Path | None,
    model: Model | None,
    store: str | None,
    *,
    comparison: Comparison | None = None,
) -> None:
    """Write the report; the decisions of a run are compared with the line's, for parts that both have inspected.

    Parameters
    ----------
    model
        Model for the heat maps. None: the report has no heat maps.
    """
    from infra.cli.shared.time_options import reading
    from replay.analysis import compare
    from replay.analysis.table import RECORDED
    from replay.report import make_report
    from transport.image_store import ImageStore

    if comparison is None and analysis.decider != RECORDED:
        comparison = compare(data.table, RECORDED, analysis.decider)
        comparison = None if _is_the_same_again(data, comparison) else comparison
    replayed: Iterable[ReplayedFrame] | None = None
    selection = chosen.selection
    if run is not None:
        from infra.cli.past.analysis_data import open_run

        folder = open_run(run)
        replayed, selection = folder.frames(), folder.selection
    with reading() as show:
        make_report(
            path,
            analysis,
            data.table,
            chosen.source,
            comparison=comparison,
            replayed=replayed,
            model=model,
            store=ImageStore(image_store_uri(store)),
            selection=None if selection.is_everything else selection,
            quality=_quality(data),
            on_progress=lambda *at: show("pictures", *at),
        )


def _is_the_same_again(data: Data, comparison: Comparison) -> bool:
    """Return True if there is nothing to compare: no part, or a decider that only repeated the line's decisions."""
    import numpy as np

    one, other = comparison.champion, comparison.challenger
    both = np.isfinite(data.table[f"{one}.score"]) & np.isfinite(data.table[f"{other}.score"])
    return not comparison.changed_total and all(
        np.array_equal(data.table[f"{one}.{name}"][both], data.table[f"{other}.{name}"][both], equal_nan=True)
        for name in ("score", "threshold")
    )


def heat_model(path: Path | None, analysis: Analysis) -> Model | None:
    """Return the model for heat maps: the named one, else the model that ships if it made the decisions, else None."""
    from models.package import default_model_path, load_model

    if path is not None:
        return load_model(path)
    model = load_model(default_model_path())
    return model if f"{model.name} {model.version} {model.sha256[:8]}" in analysis.extent.models else None


def _quality(data: Data) -> DataQuality:
    """Return the counts of labels and of a run, with the decisions of a recorded model that were reproduced."""
    from replay.report import DataQuality

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
    said = (
        "; ".join(f"{name} {pair[0]} then, {pair[1]} now" for name, pair in fields.items())
        if isinstance(fields, dict)
        else ""
    )
    return f"{row['place']} by {row['variant']}: {said}"
