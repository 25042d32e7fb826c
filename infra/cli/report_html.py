"""`inspection analyse --html`: the report of what was read for the command."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli.options import image_store_uri

if TYPE_CHECKING:
    from infra.cli.analysis_data import Data
    from infra.cli.selection_options import Chosen
    from models.package import Model
    from replay.analysis import Analysis
    from replay.replayed import ReplayedFrame


def write_html(
    path: Path, data: Data, analysis: Analysis, chosen: Chosen, run: Path | None, model: Path | None, store: str | None
) -> None:
    """Write the report; what a run decided is compared with what the line did, where both have inspected a part."""
    from replay.analysis import compare
    from replay.report import DataQuality, make_report
    from replay.table import RECORDED
    from schemas.image_store import ImageStore

    comparison = None
    if analysis.decider != RECORDED:
        comparison = compare(data.table, RECORDED, analysis.decider)
    replayed: Iterable[ReplayedFrame] | None = None
    if run is not None:
        from infra.cli.analysis_data import open_run

        replayed = open_run(run).frames()
    make_report(
        path,
        analysis,
        data.table,
        chosen.source,
        comparison=comparison if comparison is not None and comparison.parts else None,
        replayed=replayed,
        model=_model(model, analysis),
        store=ImageStore(image_store_uri(store)),
        selection=None if chosen.selection.is_everything else chosen.selection,
        quality=DataQuality(labels=data.truths.counts, labels_waiting=data.truths.waiting),
    )


def _model(path: Path | None, analysis: Analysis) -> Model | None:
    """The model for heat maps: the one that is named, else the one that ships if it is that which decided."""
    from models.package import default_model_path, load_model

    if path is not None:
        return load_model(path)
    model = load_model(default_model_path())
    return model if f"{model.name} {model.version} {model.sha256[:8]}" in analysis.extent.models else None
