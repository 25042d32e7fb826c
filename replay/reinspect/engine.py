"""Frames in, results out in the same order, on all cores, with bounded memory.

Threads, not processes: decoding, inference and hashing leave Python's lock to others, both are equally fast on two
cores (`benchmarks.reinspection`), and no process is left behind after a kill. Frames go to a thread in batches, for the
sake of `models.inspect.inspect_all` and of the hand-over; images that lie in a store are fetched ahead by threads of
their own, so that no core waits for the network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from models.opencv import cv2
from replay.reinspect.inspector import Inspector, Job, Result
from replay.stored import Stored
from schemas.machine import usable_cores
from schemas.records import Decision, Frame

#: Frames and bytes (about) that are handed over together.
BATCH_FRAMES, BATCH_BYTES = 16, 1024 * 1024
#: Batches that wait for each thread besides the one that it works on.
_WAITING = 2
#: Images fetched at once from a store, and so the most that wait to be inspected.
FETCHES = 8


class _Batches(Protocol):
    def __call__(self, jobs: Sequence[Job]) -> list[Result]: ...


def cores() -> int:
    """Cores that this process may use."""
    return usable_cores()


def inspect_all(
    frames: Iterable[tuple[Stored[Frame], Decision | None]], inspector: Inspector, *, threads: int | None = None
) -> Iterator[Result]:
    """Inspect frames as they come; results in their order.

    Memory is bounded by what is under way: some batches for each thread, and `FETCHES` images from a store.

    Parameters
    ----------
    frames
        Messages of the frames topic, and what was decided on each.
    threads
        Frames inspected at once; None: `cores`.
    """
    cv2.setNumThreads(1)
    threads = threads or cores()
    with ThreadPoolExecutor(threads, thread_name_prefix="reinspect") as pool:
        yield from in_order(with_images(frames, inspector), inspector.batch, pool, threads)


def in_order(jobs: Iterable[Job], work: _Batches, pool: Executor, at_once: int) -> Iterator[Result]:
    """Hand jobs to a pool in batches; their results in order.

    Where the reader of the results stops, what has not begun is dropped.
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


def batches(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Jobs together, up to the limits of a batch; one of more bytes alone."""
    batch: list[Job] = []
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
    frames: Iterable[tuple[Stored[Frame], Decision | None]], inspector: Inspector, fetches: int = FETCHES
) -> Iterator[Job]:
    """Frames as jobs, in order; images that lie in a store are fetched ahead, so many at once."""
    waiting: deque[tuple[Job, Future[object] | None]] = deque()
    fetching = 0
    with ThreadPoolExecutor(fetches, thread_name_prefix="fetch") as pool:  # its threads start when they are needed
        try:
            for found, recorded in frames:
                job = Job(found, recorded)
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


def _fetched(job: Job, future: Future[object] | None) -> Job:
    return job if future is None else replace(job, image=future.result())  # type: ignore[arg-type]


def _bytes(job: Job) -> int:
    if isinstance(job.image, bytes):
        return len(job.image)
    frame = job.found.record
    return 0 if frame is None or frame.image is None else len(frame.image)
