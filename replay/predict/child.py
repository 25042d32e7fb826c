"""Process that inspects files: the worker's own function, without Kafka.

Each file becomes a frame, and `stream_processors.worker.frame_processor.FrameProcessor` answers it as it answers the
frames of a line.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import logging
import math
import os
import signal
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from models import FramePosition, Model, load_model
from models.image_header import read_header
from models.remarks import NOT_ALIGNED
from replay.predict.rows import FileRow
from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.errors import InspectionError
from schemas.records import Frame, ResultState
from schemas.text import file_text
from schemas.topics import MAX_STORED_BYTES
from stream_processors.worker import frame_processor
from stream_processors.worker.frame_processor import FrameProcessor, InspectionFailure
from stream_processors.worker.frame_task import FrameMessage, ProcessingResult
from stream_processors.worker.overload import Overload, OverloadPolicy
from transport.limited_child import limit_child
from transport.logs import set_up_logging

#: Maximum number of files whose images are in memory together, and approximate bytes of them and of their tensors.
_TOGETHER, _TOGETHER_BYTES = 16, 32 * 1024 * 1024
#: Word for a fault of the model, such as an output that is not a number.
MODEL_FAULT = "model-fault"
#: Name of line, station, camera and topic of the frames.
_NOWHERE = "files"


@dataclass(frozen=True, slots=True)
class FileJob:
    """File to inspect.

    Parameters
    ----------
    number
        Place in the list of files.
    path
        Path as the command named it.
    deaths
        Number of processes that ended while they had it in work.
    failure
        Reason for which it is not inspected any more.
    """

    number: int
    path: str
    deaths: int = 0
    failure: InspectionFailure | None = None


class FileInspector:
    """Inspector of files with one model.

    Parameters
    ----------
    model
        Loaded model.
    folder
        Folder that relative paths start from.
    """

    def __init__(self, model: Model, folder: str = "", clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._folder = folder
        # Wire format without a registry: it bounds the size of a decision as that of a line does.
        self._processor = FrameProcessor(model, Codec(), self._clock, OverloadPolicy(Overload.EVERYTHING))
        tensor_bytes = math.prod(model.manifest.input.shape) * 4
        self._together = max(1, min(_TOGETHER, _TOGETHER_BYTES // tensor_bytes))

    def __call__(self, jobs: Iterable[FileJob]) -> Iterator[tuple[int, FileRow]]:
        """Inspect files; yield number and row of each, in their order. Never raises, whatever the files are."""
        waiting: list[tuple[FileJob, Frame]] = []
        size = 0
        for job in jobs:
            data = job.failure or read_file(os.path.join(self._folder, job.path))
            if isinstance(data, InspectionFailure):
                yield from self._inspect(waiting)
                waiting, size = [], 0
                frame = self._frame(job, b"")
                yield job.number, self._row(job, self._processor.conclude(self._message(frame), frame, data, 0.0), "")
                continue
            waiting.append((job, self._frame(job, data)))
            size += len(data)
            if len(waiting) >= self._together or size >= _TOGETHER_BYTES:
                yield from self._inspect(waiting)
                waiting, size = [], 0
        yield from self._inspect(waiting)

    def _inspect(self, works: list[tuple[FileJob, Frame]]) -> Iterator[tuple[int, FileRow]]:
        if not works:
            return
        found = self._processor.inspect_all([(self._message(frame), frame, frame.image or b"") for _, frame in works])
        for (job, frame), result in zip(works, found, strict=True):
            yield job.number, self._row(job, result, frame.sha256)

    def _frame(self, job: FileJob, data: bytes) -> Frame:
        header, now_us = read_header(data), self._clock.utc_us()
        return Frame(
            frame_id=f"{_NOWHERE}.{job.number}", line=_NOWHERE, station=_NOWHERE, camera_id=_NOWHERE,
            started_at_us=now_us, sequence=job.number, captured_at_us=now_us, encoding=header.encoding,
            width=header.width, height=header.height, sha256=hashlib.sha256(data).hexdigest(), image=data,
        )  # fmt: skip

    def _message(self, frame: Frame) -> FrameMessage:
        return FrameMessage(None, None, {}, FramePosition(_NOWHERE, 0, frame.sequence, frame.captured_at_us))

    def _row(self, job: FileJob, result: ProcessingResult, sha256: str) -> FileRow:
        assert result.decision is not None  # the identity of our frames makes a decision that can be encoded
        decision = dataclasses.replace(result.decision, image_sha256=sha256)
        fault = "" if decision.result_state is ResultState.COMPLETED else MODEL_FAULT
        if any(each.kind == NOT_ALIGNED for each in result.remarks):
            fault = NOT_ALIGNED
        remarks = [f"{each.kind}: {each.text}" for each in result.remarks]
        return FileRow.of(file_text(job.path), decision, result.kind or fault, remarks)


def read_file(path: str) -> bytes | InspectionFailure:
    """Return the bytes of a file; a failure if it cannot be read, is not a regular file or is too large for a line."""
    try:
        # O_NONBLOCK, because a pipe without a writer would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return InspectionFailure("unreadable-file", "it is not a regular file")
            data = b"" if found.st_size > MAX_STORED_BYTES else file.read(MAX_STORED_BYTES + 1)
            if max(found.st_size, len(data)) > MAX_STORED_BYTES:
                mib = max(found.st_size, len(data)) / 1024**2
                return InspectionFailure(
                    "image-too-large", f"the file has {mib:.0f} MiB, a line takes at most {MAX_STORED_BYTES >> 20} MiB"
                )
            return data
    except (OSError, MemoryError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENXIO:
            return InspectionFailure("unreadable-file", "it is not a regular file")
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return InspectionFailure("unreadable-file", reason or type(error).__name__)


def run_child(model_path: Path, folder: str, level: int, pipe: Connection) -> None:
    """Inspect the jobs that come through a pipe until it is closed.

    The pipe first carries the identity of the loaded model, or the text of the error; then one pair of number and row
    for each job.
    """
    # A terminal sends these to all processes; only the parent acts on them.
    for from_terminal in (signal.SIGINT, signal.SIGHUP):
        signal.signal(from_terminal, signal.SIG_IGN)
    limit_child()
    set_up_logging(level, f"predict {os.getpid()}")
    # The rows carry the reasons and the remarks.
    for name in (frame_processor.__name__, "models.image_remarks"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        model = load_model(model_path)
    except InspectionError as error:
        pipe.send(str(error))
        return
    pipe.send((model.sha256, model.recipe_revision))
    inspector = FileInspector(model, folder)
    while True:
        try:
            jobs = pipe.recv()
        except (EOFError, OSError):
            return
        for number, row in inspector(jobs):
            pipe.send((number, row.dumps()))
