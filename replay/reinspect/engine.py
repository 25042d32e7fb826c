"""Engine of the re-inspection: inspects frames on all cores, and yields results in order, with bounded memory.

The engine uses threads, not processes. Decoding, inference and hashing release Python's lock; both are equally fast on
two cores (`benchmarks.reinspection`); and no process is left behind after a kill. A thread gets its frames in batches,
because of `models.inspect_images.inspect_images` and of the cost of a hand-over. Separate threads fetch images from a
store in advance, so that no core waits for the network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from models.opencv import cv2
from replay.reinspect.inspector import InspectionJob, Inspector, Result
from schemas.records import Decision, Frame
from transport.machine import usable_cores
from transport.stored_message import StoredMessage

#: Frames and approximate bytes of a batch.
BATCH_FRAMES, BATCH_BYTES = 16, 1024 * 1024
#: Batches that wait for each thread, in addition to the batch in work.
_WAITING = 2
#: Maximum number of images fetched from a store at once, and so of fetched images that wait for inspection.
FETCHES = 8


class _Batches(Protocol):
    def __call__(self, jobs: Sequence[InspectionJob]) -> list[Result]: ...


def cores() -> int:
    """Return the number of cores that this process may use."""
    return usable_cores()


def inspect_all(
    frames: Iterable[tuple[StoredMessage[Frame], Decision | None]], inspector: Inspector, *, threads: int | None = None
) -> Iterator[Result]:
    """Inspect frames as they come; yield the results in their order.

    Memory is bounded by the work in flight: some batches for each thread, and `FETCHES` images from a store.

    Parameters
    ----------
    frames
        Messages of the frames topic, each with its recorded decision.
    threads
        Number of threads, and so of frames inspected at once; None for `cores`.
    """
    cv2.setNumThreads(1)
    threads = threads or cores()
    with ThreadPoolExecutor(threads, thread_name_prefix="reinspect") as pool:
        yield from in_order(with_images(frames, inspector), inspector.batch, pool, threads)


def in_order(jobs: Iterable[InspectionJob], work: _Batches, pool: Executor, at_once: int) -> Iterator[Result]:
    """Submit jobs to a pool in batches, and yield their results in order.

    If the consumer of the results stops, batches that have not begun are cancelled.
    """
    under_way: deque[Future[list[Result]]] = deque()
    try:
        for batch in batches(jobs):
            under_way.append(pool.submit(work, batch))
            while under_way and (under_way[0].done() or len(under_way) >= at_once * (1 + _WAITING)):
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()


def batches(jobs: Iterable[InspectionJob]) -> Iterator[list[InspectionJob]]:
    """Yield jobs in batches, up to the limits of a batch; a job with more bytes is a batch of its own."""
    batch: list[InspectionJob] = []
    size = 0
    for job in jobs:
        own = _bytes(job)
        if batch and (len(batch) >= BATCH_FRAMES or size + own > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += own
    if batch:
        yield batch


def with_images(
    frames: Iterable[tuple[StoredMessage[Frame], Decision | None]], inspector: Inspector, fetches: int = FETCHES
) -> Iterator[InspectionJob]:
    """Yield frames as jobs, in order; fetch images from a store in advance, up to ``fetches`` at once."""
    waiting: deque[tuple[InspectionJob, Future[object] | None]] = deque()
    fetching = 0
    with ThreadPoolExecutor(fetches, thread_name_prefix="fetch") as pool:  # its threads start when they are needed
        try:
            for found, recorded in frames:
                job = InspectionJob(found, recorded)
                is_elsewhere = found.record is not None and found.record.image is None
                if not is_elsewhere and not waiting:
                    yield job
                    continue
                waiting.append((job, pool.submit(inspector.image, found) if is_elsewhere else None))
                fetching += is_elsewhere
                while waiting and (fetching >= fetches or len(waiting) >= BATCH_FRAMES * fetches):
                    job, future = waiting.popleft()
                    fetching -= future is not None
                    yield _fetched(job, future)
            while waiting:
                yield _fetched(*waiting.popleft())
        finally:
            for _, future in waiting:
                if future is not None:
                    future.cancel()


def _fetched(job: InspectionJob, future: Future[object] | None) -> InspectionJob:
    return job if future is None else replace(job, image=future.result())  # type: ignore[arg-type]


def _bytes(job: InspectionJob) -> int:
    if isinstance(job.image, bytes):
        return len(job.image)
    frame = job.found.record
    return 0 if frame is None or frame.image is None else len(frame.image)
