"""Models that `inspection compare` compares: on golden samples, and on frames of the past."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import SettingsError

if TYPE_CHECKING:
    from infra.cli.past.analysis_data import Data
    from infra.cli.shared.selection_options import SelectionArgs
    from models.package import Model
    from replay.analysis.comparison_results import GoldenComparison

RECORDED = "recorded"


def on_golden(path: Path, run: Path | None, champion: str | None, challenger: str | None) -> GoldenComparison:
    """Inspect golden samples with both models; the default champion is the model that ships.

    Raises
    ------
    SettingsError, ModelPackageError
        If samples or a model cannot be read.
    """
    from infra.cli.shared.time_options import reading
    from replay.analysis import compare_golden, load_golden

    samples = load_golden(path)
    if challenger is None:
        raise SettingsError("--golden needs a model to inspect them: --challenger DIR, or a variant of the run")
    models = _model(None if champion == RECORDED else champion, run), _model(challenger, run)
    with reading() as show:
        return compare_golden(samples, *models, on_progress=lambda done: show("golden", done, len(samples)))


def model_of(run: Path, name: str) -> Model | None:
    """Return the model of a variant of a run, or None if the run has no such variant.

    Raises
    ------
    ModelPackageError
        If the model package is no longer at its place.
    """
    from replay.reinspect.run_folder import RunFolder
    from replay.reinspect.variants import from_described, load

    for variant in from_described(RunFolder.open(run).plan.variants):
        if variant.name == name:
            model: Model = load([variant])[0].model
            return model
    return None


def _model(name: str | None, run: Path | None) -> Model:
    """Return the model of a variant of a run, else of the package in a folder."""
    from models.package import default_model_path, load_model

    if run is not None and name is not None and (model := model_of(run, name)) is not None:
        return model
    return load_model(default_model_path() if name is None else Path(name))


@contextmanager
def inspected(
    chosen: SelectionArgs,
    champion: str | None,
    challenger: str | None,
    *,
    truth_attribute: str | None,
    image_store: str,
    with_episodes: bool,
) -> Iterator[tuple[Data, Path]]:
    """Inspect a selection with the models that did not decide on the line; yield the table and the run folder.

    The run folder is temporary and deleted at the end of the block. The deciders of the table are ``recorded``,
    ``challenger`` and, if its package is named, ``champion``.

    Raises
    ------
    EmptySelection
        If nothing was selected.
    SettingsError
        If no challenger is named.
    """
    from replay.reinspect.run import plan, run
    from replay.reinspect.run_folder import RunFolder
    from replay.reinspect.variants import Variant, load

    if challenger is None:
        raise SettingsError("compare what? --challenger DIR, or a RUN of `inspection replay`")

    from infra.cli.past.analysis_data import Data, check_attribute, episodes_of
    from infra.cli.shared.time_options import reading
    from monitoring.quality.label_index import LabelIndex
    from replay.analysis.table import build_table
    from replay.past.resolved_selection import ResolvedSelection, empty_selection_error, read_labels
    from schemas.codec import Codec
    from transport.image_store import ImageStore

    variants = [Variant("challenger", Path(challenger))]
    if champion not in (None, RECORDED):
        variants.append(Variant("champion", Path(champion or "")))
    loaded, source = load(variants), chosen.source
    with tempfile.TemporaryDirectory(prefix="inspection-compare-") as scratch:
        with reading() as show, ResolvedSelection(source, chosen.selection, on_progress=show) as resolved:
            truths = LabelIndex(read_labels(source, chosen.selection.from_us, on_progress=show))
            folder = RunFolder.create(Path(scratch) / "run", plan(resolved, source, loaded))
            run(
                resolved, loaded, folder, Codec.from_settings(source.kafka), ImageStore(image_store),
                on_progress=lambda *at: show("frames", *at),
            )  # fmt: skip
            if not folder.progress().summary.selected:
                raise empty_selection_error(source)
            table = build_table(folder.frames(), truths, variants=folder.variants, truth_attribute=truth_attribute)
            check_attribute(table, truth_attribute)
            first_us = int(table["captured_at_us"].min()) if len(table) else 0
            episodes = episodes_of(chosen, first_us, show) if with_episodes else []
        yield Data(table, truths, episodes, folder.progress().summary), folder.path
