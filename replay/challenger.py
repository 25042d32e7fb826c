"""Models that a comparison compares: on golden samples, and on frames of the past."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.package import Model, default_model_path, load_model
from monitoring.quality.label_index import LabelIndex
from replay.analysis.comparison_results import GoldenComparison
from replay.analysis.golden import compare_golden, load_golden
from replay.analysis.table import build_table
from replay.dataset import Dataset, check_attribute, episodes_of, unsigned_labels
from replay.past.reads import empty_selection_error, read_labels
from replay.past.replayed_frame import RECORDED
from replay.past.resolved_selection import ResolvedSelection
from replay.past.selection import Selection
from replay.past.source import Source
from replay.reinspect.run import plan, run
from replay.reinspect.run_folder import RunFolder
from replay.reinspect.variants import Variant, from_described, load
from schemas.codec import Codec
from schemas.errors import SettingsError
from transport.image_store import ImageStore
from transport.topic_ranges import OnStageProgress


def on_golden(
    path: Path,
    run: Path | None,
    champion: str | None,
    challenger: str | None,
    *,
    on_progress: OnStageProgress,
) -> GoldenComparison:
    """Inspect golden samples with both models; the default champion is the model that ships.

    Parameters
    ----------
    on_progress
        Called with ``golden``, samples done, samples in all.

    Raises
    ------
    SettingsError, ModelPackageError
        If samples or a model cannot be read.
    """
    samples = load_golden(path)
    if challenger is None:
        raise SettingsError("--golden needs a model to inspect them: --challenger DIR, or a variant of the run")
    models = _model(None if champion == RECORDED else champion, run), _model(challenger, run)
    return compare_golden(samples, *models, on_progress=lambda done: on_progress("golden", done, len(samples)))


def model_of(run: Path, name: str) -> Model | None:
    """Return the model of a variant of a run, or None if the run has no such variant.

    Raises
    ------
    ModelPackageError
        If the model package is no longer at its place.
    """
    for variant in from_described(RunFolder.open(run).plan.variants):
        if variant.name == name:
            return load([variant])[0].model
    return None


def _model(name: str | None, run: Path | None) -> Model:
    """Return the model of a variant of a run, else of the package in a folder."""
    if run is not None and name is not None and (model := model_of(run, name)) is not None:
        return model
    return load_model(default_model_path() if name is None else Path(name))


@contextmanager
def inspected(
    source: Source,
    selection: Selection,
    champion: str | None,
    challenger: str | None,
    *,
    truth_attribute: str | None,
    image_store: ImageStore,
    with_episodes: bool,
    on_progress: OnStageProgress,
) -> Iterator[tuple[Dataset, Path]]:
    """Inspect a selection with the models that did not decide on the line; yield the table and the run folder.

    The run folder is temporary and deleted at the end of the block. The deciders of the table are ``recorded``,
    ``challenger`` and, if its package is named, ``champion``.

    Parameters
    ----------
    champion, challenger
        Folders of model packages; no champion, or ``recorded``, stands for the decisions of the line.
    on_progress
        Called with the name of the data being read, offsets done, offsets in all.

    Raises
    ------
    EmptySelection
        If nothing was selected.
    SettingsError
        If no challenger is named.
    """
    if challenger is None:
        raise SettingsError("compare what? --challenger DIR, or a RUN of `inspection replay`")
    variants = [Variant("challenger", Path(challenger))]
    if champion not in (None, RECORDED):
        variants.append(Variant("champion", Path(champion or "")))
    loaded = load(variants)
    with tempfile.TemporaryDirectory(prefix="inspection-compare-") as scratch:
        with ResolvedSelection(source, selection, on_progress=on_progress) as resolved:
            truths = LabelIndex(read_labels(source, selection.from_us, on_progress=on_progress))
            folder = RunFolder.create(Path(scratch) / "run", plan(resolved, source, loaded))
            run(
                resolved, loaded, folder, Codec.from_settings(source.kafka), image_store,
                on_progress=lambda *at: on_progress("frames", *at),
            )  # fmt: skip
            if not folder.progress().summary.selected:
                raise empty_selection_error(source)
            table = build_table(folder.frames(), truths, variants=folder.variants, truth_attribute=truth_attribute)
            check_attribute(table, truth_attribute)
            first_us = int(table["captured_at_us"].min()) if len(table) else 0
            episodes = episodes_of(source, first_us, on_progress=on_progress) if with_episodes else []
            summary, unsigned = folder.progress().summary, unsigned_labels(source)
        yield Dataset(table, truths, episodes, summary, unsigned=unsigned), folder.path
