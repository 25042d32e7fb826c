"""Resumable re-inspection of a selection with several variants; results are written to disk as they come."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from replay.past.resolved_selection import ResolvedSelection
from replay.past.source import Source
from replay.reinspect.engine import inspect_all
from replay.reinspect.inspector import Inspector, Result
from replay.reinspect.run_folder import Plan, RunError, RunFolder, RunProgress
from replay.reinspect.summary import Summary
from replay.reinspect.variants import LoadedVariant
from schemas.codec import Codec
from schemas.records import Frame
from transport.image_store import ImageStore
from transport.offset_ranges import subtract, total

#: Rows, bytes or seconds after which a part is written: the most work that a kill can cost.
PART_ROWS, PART_BYTES, PART_S = 5_000, 8 * 1024 * 1024, 10.0


@dataclass(frozen=True, slots=True)
class RunResult:
    """Outcome of a run.

    Parameters
    ----------
    summary
        Summary of the whole run, including the work before it was resumed.
    frames
        Number of frames inspected by this process, in ``seconds``.
    is_finished
        False if the run was stopped.
    """

    summary: Summary
    frames: int
    seconds: float
    is_finished: bool


def plan(resolved: ResolvedSelection, source: Source, loaded: Sequence[LoadedVariant]) -> Plan:
    """Return the plan of a run, for `RunFolder.create`."""
    return Plan(
        selection=resolved.selection,
        effective_selection=resolved.effective_selection,
        topic=source.topic(Frame),
        ranges=resolved.offsets,
        variants=tuple(each.described() for each in loaded),
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect the last bit of a score."""
    names = ("streaming-inspection", "onnxruntime", "opencv-python-headless", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def check_variants(folder: RunFolder, loaded: Sequence[LoadedVariant]) -> None:
    """Check that a run can be resumed with these variants.

    Raises
    ------
    RunError
        If a variant has changed since the run began.
    """
    for before, each in zip(folder.plan.variants, loaded, strict=True):
        now = each.described()
        for name in ("model_sha256", "recipe_revision"):
            if before.get(name) != now[name]:
                raise RunError(
                    f"{folder.path}: the model of variant {now['name']!r} has changed since the run began "
                    f"({name} {str(before.get(name))[:16]} then, {now[name][:16]} now): begin a new run"
                )


def check_there(folder: RunFolder, source: Source) -> None:
    """Check that the remaining frames of a run can still be read.

    Raises
    ------
    RunError
        If some of them are not in the source: otherwise the run would silently end with fewer frames.
    """
    done = {number: ((0, begin),) for number, begin in folder.progress().after.items()}
    gone = subtract(subtract(folder.plan.ranges, done), source.extent(Frame))
    if gone:
        number, spans = min(gone.items())
        raise RunError(
            f"{folder.path}: {total(gone)} offsets that are left of the run are not there any more, the first is "
            f"{folder.plan.topic}-{number}@{spans[0][0]}: give the --archive that has them, or begin a new run"
        )


def run(
    resolved: ResolvedSelection,
    loaded: Sequence[LoadedVariant],
    folder: RunFolder,
    codec: Codec,
    store: ImageStore | None = None,
    *,
    threads: int | None = None,
    part_s: float = PART_S,
    stop: threading.Event | None = None,
    on_progress: Callable[[int, int], object] = lambda done, count: None,
) -> RunResult:
    """Inspect the frames of a stretch that are not in the folder yet.

    Parameters
    ----------
    resolved
        Stretch of the folder's plan.
    part_s
        Maximum seconds between the parts that are written.
    stop
        Once it is set, the run writes the finished frames and ends.
    on_progress
        Called with the number of offsets done, and of offsets of the stretch.

    Raises
    ------
    BrokerUnavailable
        If the topic cannot be read to its end; the finished frames are written first.
    """
    began_s = time.monotonic()
    progress = folder.progress()
    writer = _Writer(folder, progress, part_s)
    before = progress.summary.selected
    stop = stop or threading.Event()
    frames = resolved.frames(progress.after, on_progress=on_progress, stop=stop)
    try:
        for result in inspect_all(frames, Inspector(loaded, codec, store), threads=threads):
            writer.add(result)
    finally:
        writer.flush()
    if not stop.is_set():
        folder.finish(writer.summary)
    return RunResult(
        writer.summary, writer.summary.selected - before, time.monotonic() - began_s, is_finished=not stop.is_set()
    )


class _Writer:
    """Writer that collects results into parts."""

    def __init__(self, folder: RunFolder, progress: RunProgress, part_s: float) -> None:
        self._folder = folder
        self._part_s = part_s
        self._after = dict(progress.after)
        self.summary = progress.summary
        self._rows: list[bytes] = []
        self._bytes = 0
        self._unwritten = 0
        self._due_s = time.monotonic() + part_s

    def add(self, result: Result) -> None:
        self._after[result.position.partition] = result.position.offset + 1
        self.summary.add(result)
        self._unwritten += 1
        if result.row is not None:
            self._rows.append(result.row)
            self._bytes += len(result.row)
        if len(self._rows) >= PART_ROWS or self._bytes >= PART_BYTES or time.monotonic() >= self._due_s:
            self.flush()

    def flush(self) -> None:
        if self._unwritten:
            self._folder.add(self._rows, RunProgress(self._after, self.summary))
        self._rows, self._bytes, self._unwritten = [], 0, 0
        self._due_s = time.monotonic() + self._part_s
