"""Processes that inspect files side by side; rows come back in the order of the files.

A file may end the process that inspects it, or never let it answer. The files that this process had in work are then
inspected one by one; a file that ends a second process gets a FAILED row, and the run goes on.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import connection
from pathlib import Path
from typing import Any

from models.errors import ModelPackageError
from replay.predict.child import FileJob, run_child
from schemas.errors import InspectionError
from stream_processors.worker.frame_processor import InspectionFailure

#: Word for a file that ended two processes.
KILLED = "killed-the-process"
#: Maximum number of files that a process gets at a time.
_CHUNK = 16
#: Files in work, or done and not yielded yet, for each process: a bound on the rows in memory.
_AHEAD = 64
_POLL_S = 0.2
_DEATHS = 2
#: Longest time without a row, in seconds, after which a process is ended: far more than the files of a chunk take.
SILENCE_S = 300.0


class InspectingProcessFailed(InspectionError):
    """Process that ended before it was ready."""


@dataclass(slots=True)
class _Child:
    process: Any
    pipe: connection.Connection
    in_work: deque[FileJob] = field(default_factory=deque)
    is_ready: bool = False
    heard_s: float = field(default_factory=time.monotonic)


class _Order:
    """Jobs that are not begun, and rows that wait for the rows before them."""

    def __init__(self, jobs: Iterator[FileJob], first: int, chunk: int, ahead: int) -> None:
        self._jobs = jobs
        self._chunk = chunk
        self._ahead = ahead
        self._begun = self._next = first
        self._suspects: deque[FileJob] = deque()
        self._lines: dict[int, bytes] = {}
        self._is_exhausted = False

    @property
    def is_empty(self) -> bool:
        """True if no job is left to begin."""
        return self._is_exhausted and not self._suspects

    def take(self) -> list[FileJob]:
        """Return the next jobs, or one suspect alone; empty if there is none, or too many rows wait for an earlier."""
        if self._suspects:
            return [self._suspects.popleft()]
        room = max(0, min(self._chunk, self._next + self._ahead - self._begun))
        jobs = list(islice(self._jobs, room))
        self._is_exhausted = self._is_exhausted or len(jobs) < room
        self._begun += len(jobs)
        return jobs

    def put_back(self, job: FileJob) -> None:
        """Begin a job again, alone."""
        self._suspects.append(job)

    def add(self, number: int, line: bytes) -> None:
        """Add the row of a job."""
        self._lines[number] = line

    def ready(self) -> Iterator[bytes]:
        """Yield the rows that no earlier row is missing for."""
        while self._next in self._lines:
            yield self._lines.pop(self._next)
            self._next += 1


class InspectingProcesses:
    """Processes of one run. Use as a context manager: no process is left at its end.

    Parameters
    ----------
    model_path
        Folder of the package; each process loads it.
    identity
        sha256 and recipe revision that it must have.
    folder
        Folder that relative paths start from.
    count
        Number of processes.
    silence_s
        Longest time without a row, in seconds, after which a process is ended.
    """

    def __init__(
        self, model_path: Path, identity: tuple[str, str], folder: str, count: int, *, silence_s: float = SILENCE_S
    ) -> None:
        self._silence_s = silence_s
        self._arguments = (model_path, folder, logging.getLogger().getEffectiveLevel())
        self._identity = identity
        self._context = multiprocessing.get_context("spawn")
        self._children = [self._start() for _ in range(count)]

    def __enter__(self) -> InspectingProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.process.kill()
        for child in self._children:
            child.process.join()
            child.pipe.close()

    def inspect(
        self, jobs: Iterator[FileJob], first: int, total: int, stop: threading.Event
    ) -> Generator[bytes, None, None]:
        """Yield the row of each job as a line, see `FileRow.dumps`, in the order of the jobs.

        Parameters
        ----------
        first, total
            Number of the first job, and number of jobs; jobs are numbered one after the other.
        stop
            Once it is set, no more jobs are begun. The rows of those in work are still yielded.

        Raises
        ------
        InspectingProcessFailed
            If a process ends before it is ready.
        ModelPackageError
            If the package does not load any more, or has changed.
        """
        count = len(self._children)
        order = _Order(jobs, first, max(1, min(_CHUNK, total // (4 * count))), _AHEAD * count)
        while True:
            if not stop.is_set():
                for child in self._children:
                    if child.is_ready and not child.in_work:
                        self._give(child, order.take())
            is_over = stop.is_set() or order.is_empty
            if is_over and not any(child.in_work for child in self._children):
                return
            self._receive(order)
            yield from order.ready()

    def _start(self) -> _Child:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=run_child, args=(*self._arguments, theirs), daemon=True)
        process.start()
        theirs.close()
        return _Child(process, ours)

    def _give(self, child: _Child, jobs: list[FileJob]) -> None:
        if jobs:
            child.in_work.extend(jobs)
            child.heard_s = time.monotonic()
            with suppress(OSError):  # it has ended: `_receive` finds the end of the pipe
                child.pipe.send(jobs)

    def _receive(self, order: _Order) -> None:
        ready = connection.wait([child.pipe for child in self._children], _POLL_S)
        for number, child in enumerate(self._children):
            if child.pipe not in ready:
                limit_s = SILENCE_S if not child.is_ready else self._silence_s if child.in_work else math.inf
                if time.monotonic() - child.heard_s > limit_s:
                    child.process.kill()  # its pipe ends, which the next call finds
                continue
            try:
                while child.pipe.poll():
                    self._accept(child, child.pipe.recv(), order)
            except (EOFError, OSError):
                self._replace(number, order)

    def _accept(self, child: _Child, message: Any, order: _Order) -> None:
        if child.is_ready:
            number, line = message
            child.heard_s = time.monotonic()
            job = child.in_work.popleft()
            assert job.number == number
            order.add(number, line)
        elif isinstance(message, str):
            raise ModelPackageError(message)
        elif message != self._identity:
            raise ModelPackageError(f"{self._arguments[0]}: the package changed while the run was starting")
        else:
            child.is_ready = True

    def _replace(self, number: int, order: _Order) -> None:
        """Start a process in place of one that has ended; the jobs that it had in work are begun again, alone."""
        child = self._children[number]
        child.process.join()
        child.pipe.close()
        end = _end_of(child.process.exitcode or 0)
        if not child.is_ready:
            raise InspectingProcessFailed(
                f"a process ended {end} while it loaded the model; if memory is short, take fewer --processes"
            )
        for job in child.in_work:
            failure = InspectionFailure(KILLED, f"the process that inspected it ended {end}")
            deaths = job.deaths + 1
            order.put_back(replace(job, deaths=deaths, failure=failure if deaths >= _DEATHS else None))
        self._children[number] = self._start()


def _end_of(code: int) -> str:
    """Return the way in which a process ended, in words.

    Examples
    --------
    >>> _end_of(-9), _end_of(1)
    ('with signal 9 (SIGKILL)', 'with status 1')
    """
    if code >= 0:
        return f"with status {code}"
    with suppress(ValueError):
        return f"with signal {-code} ({signal.Signals(-code).name})"
    return f"with signal {-code}"
