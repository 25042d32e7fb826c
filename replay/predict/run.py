"""Run over image files: list them, inspect them on all cores, write the rows and the report."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from models import Model, load_model
from replay.analysis.table import Column
from replay.export.write import check_file, write_columns
from replay.predict.child import FileJob
from replay.predict.columns import columns_of
from replay.predict.figures import PredictionFigures, figures_of
from replay.predict.listing import ListingCounts, list_files
from replay.predict.page import write_page
from replay.predict.processes import InspectingProcesses
from replay.predict.rows import FileRow
from replay.predict.unfinished import UnfinishedRun, UnfinishedRunError
from replay.reinspect.run import versions
from replay.report.document import check_html
from schemas.errors import SettingsError
from schemas.text import file_text
from transport.machine import usable_cores

_BATCH_ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """Options of a run.

    Parameters
    ----------
    arguments
        Folders, files and patterns.
    model
        Folder of the model package.
    out
        File of the rows, see `replay.export.write.write_columns`.
    html
        File of the report; None: no report.
    processes
        Number of processes; None: one for each core.
    resume
        True: continue an unfinished run of the same output, if there is one.
    """

    arguments: Sequence[str]
    model: Path
    out: Path
    html: Path | None = None
    processes: int | None = None
    resume: bool = False


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """Outcome of a run.

    Parameters
    ----------
    figures
        Figures of all rows; None if the run was stopped.
    listing
        Counts of the files that were left out of the list.
    total, done, resumed
        Number of files, of rows, and of the rows that an earlier process made.
    seconds
        Time that this process inspected files.
    """

    model: Model
    figures: PredictionFigures | None
    listing: ListingCounts
    total: int
    done: int
    resumed: int
    processes: int
    seconds: float
    unfinished: Path

    @property
    def images_per_s(self) -> float:
        """Files inspected by this process, for each second."""
        return (self.done - self.resumed) / self.seconds if self.seconds > 0 else 0.0


def predict(
    options: PredictOptions,
    *,
    stop: threading.Event | None = None,
    on_progress: Callable[[int, int], object] = lambda done, count: None,
) -> PredictionResult:
    """Inspect files, and write the rows; the same files and the same model make the same rows, byte for byte.

    Memory: the paths of one folder, and some rows for each process.

    Parameters
    ----------
    stop
        Once it is set, the run finishes the files in work and ends; it can be resumed.
    on_progress
        Called with the number of files done, and of files in all.

    Raises
    ------
    SettingsError
        If there is no file, or an output cannot be written.
    UnfinishedRunError
        If there is an unfinished run that is not to be resumed, or cannot be.
    ModelPackageError
        If the package does not load.
    InspectingProcessFailed
        See `InspectingProcesses.inspect`.
    """
    stop = stop or threading.Event()
    check_file(options.out)
    if options.html is not None:
        check_html(options.html)
    model = load_model(options.model)
    run = UnfinishedRun(options.out)
    listing = ListingCounts()
    with run.lock():
        resumed = _prepare(run, options, model, listing)
        count = min(options.processes or usable_cores(), max(1, run.count - resumed))
        began_s = time.monotonic()
        done = resumed
        on_progress(done, run.count)
        if done < run.count:
            for new in _inspected(run, options, model, count, resumed, stop):
                done = resumed + new
                on_progress(done, run.count)
        seconds = time.monotonic() - began_s
        figures = None
        if done == run.count:
            figures = figures_of(run.rows())
            write_columns(options.out, _batches(run, figures, model))
            if options.html is not None:
                title = f"Inspection of {', '.join(map(file_text, options.arguments))}"[:200]
                write_page(options.html, run, figures, model.manifest, title)
            run.delete()
    return PredictionResult(model, figures, listing, run.count, done, resumed, count, seconds, run.path)


def _prepare(run: UnfinishedRun, options: PredictOptions, model: Model, listing: ListingCounts) -> int:
    """Begin or resume a run; return the number of rows that are there."""
    plan = {
        "arguments": [file_text(os.path.abspath(argument)) for argument in options.arguments],
        "model": f"{model.name} {model.version}",
        "model_sha256": model.sha256,
        "recipe": f"{model.recipe_id} {model.recipe_revision}",
        "versions": versions(),
    }
    if run.exists and options.resume:
        return run.resume(plan)
    if run.exists:
        raise UnfinishedRunError(
            f"{run.path}: an unfinished run of this output; add --resume to go on, or delete this folder"
        )
    try:
        run.begin({**plan, "folder": os.getcwd()}, list_files(options.arguments, listing))
        if run.count == 0:
            hints = "".join(f"; {line}" for line in listing.lines())
            raise SettingsError(f"{', '.join(map(file_text, options.arguments))}: no image{hints}")
    except SettingsError:
        run.delete()
        raise
    return 0


def _inspected(
    run: UnfinishedRun, options: PredictOptions, model: Model, count: int, begin: int, stop: threading.Event
) -> Iterator[int]:
    """Inspect the files from a number on, append their rows, and yield the number of new rows."""
    jobs = (FileJob(number, path) for number, path in enumerate(run.paths(begin), begin))
    identity = (model.sha256, model.recipe_revision)
    with (
        InspectingProcesses(model.path, identity, str(run.plan["folder"]), count) as processes,
        closing(processes.inspect(jobs, begin, run.count - begin, stop)) as lines,
    ):
        yield from run.append(lines)


def _batches(run: UnfinishedRun, figures: PredictionFigures, model: Model) -> Iterator[dict[str, Column]]:
    about = {
        "model_name": model.name, "model_version": model.version, "model_sha256": model.sha256,
        "recipe_id": model.recipe_id, "recipe_revision": model.recipe_revision,
    }  # fmt: skip
    rows: Iterator[FileRow] = run.rows()
    while batch := list(islice(rows, _BATCH_ROWS)):
        yield columns_of(batch, model.manifest.labels, figures.signals, about)
