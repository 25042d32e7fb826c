"""Trials of suspect messages, in a child process with limits of time and memory: `stream_processors.worker.trial`."""

from __future__ import annotations

import json
import logging
import os
import pickle
import select
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from schemas.avro_values import from_values
from schemas.errors import InvalidRecord
from schemas.records import Frame
from schemas.settings import KafkaSettings
from transport.limited_child import end_child
from transport.machine import usable_memory_bytes

log = logging.getLogger(__name__)

#: Time for a child to get ready, in seconds, before it is abandoned: it loads the model first.
_READY_S = 30.0
#: Longest line of a child, in bytes; the head of a frame is far below it.
_LONGEST_LINE = 4 * 1024 * 1024
_READ_BYTES = 65_536
_LEAST_MEMORY_BYTES = 1024**3
#: Children that must die of a message before it is convicted; one alone may have died of something else.
_DEATHS = 2
#: Children that are tried for one message at most: one may end before it has seen the message.
_MOST_CHILDREN = 4


@dataclass(frozen=True, slots=True)
class TrialVerdict:
    """Result of a trial.

    Parameters
    ----------
    has_run
        False if no child could be started, or none came as far as the message: then nothing is known.
    killed
        Reason for which the worker must not read the message; None if it may.
    frame
        Frame without its image, if the record could be read.
    refused
        Kind and reason where the image was refused: the worker need not read it again.
    is_slow
        It was stopped since it took too long.
    """

    has_run: bool = True
    killed: str | None = None
    frame: Frame | None = None
    refused: tuple[str, str] | None = None
    is_slow: bool = False


class Trials:
    """Trials of messages one after the other, in one child as long as it lives. Thread-safe.

    Parameters
    ----------
    kafka, model
        Kafka settings and model of the worker.
    limit_s
        Most seconds that one message may take.
    memory_bytes
        Memory that the child may take; None: half of the memory that this process may have, and at least 1 GiB.
    """

    def __init__(
        self, kafka: KafkaSettings, model: Path, limit_s: float = 10.0, memory_bytes: int | None = None
    ) -> None:
        self._settings = pickle.dumps((kafka, model, memory_bytes or _half_of_memory()))
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._is_broken = False

    def prepare(self) -> None:
        """Start the child, so that it is ready when it is needed; it does not wait for a trial that runs."""
        if not self._lock.acquire(blocking=False):
            return  # a child is at work
        try:
            if not self._is_broken:
                self._start()
        finally:
            self._lock.release()

    def try_out(self, value: bytes | None, image: bytes | None = None) -> TrialVerdict:
        """Have the child read and inspect a message; ``image`` where it lies in a store.

        A child that dies is no proof: memory may have been short. The message is convicted if a fresh one dies too,
        or if it takes too long.
        """
        with self._lock:
            deaths, frame = 0, None
            for _ in range(_MOST_CHILDREN):
                child = None if self._is_broken else self._start()
                if child is None or not child.is_ready():
                    self._is_broken = True  # no suspect waits for another child that does not come
                    self._end()
                    break
                verdict = child.try_out(value or b"", image or b"", self._limit_s)
                if verdict.has_run and verdict.killed is None:
                    return verdict
                self._end()
                frame = verdict.frame or frame
                deaths += verdict.has_run
                if verdict.has_run and (verdict.is_slow or deaths >= _DEATHS):
                    return replace(verdict, frame=frame)
            return TrialVerdict(has_run=False, frame=frame)

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _start(self) -> _Child | None:
        if self._child is not None and self._child.has_ended():
            self._end()
        if self._child is None:
            try:
                self._child = _Child(self._settings)
            except OSError as error:
                log.warning("no trial: a child process cannot be started: %s", error)
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    def __init__(self, settings: bytes) -> None:
        path = os.pathsep.join(each or os.getcwd() for each in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "stream_processors.worker.trial"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C must reach only the worker
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._into, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._into, False)
        self._received = b""
        self._is_ready = False
        self._deadline_s = time.monotonic() + _READY_S
        self._send(settings, self._deadline_s)

    def is_ready(self) -> bool:
        """Wait until the child has loaded the model; return False if it cannot."""
        if not self._is_ready:
            self._is_ready = (self._receive(self._deadline_s) or {}).get("ready") is True
        if not self._is_ready:
            log.warning("no trial: the child process does not get ready (status %s)", self._process.poll())
        return self._is_ready

    def has_ended(self) -> bool:
        """Return True if the child has ended; it ends after a long time without a message."""
        return self._process.poll() is not None

    def try_out(self, value: bytes, image: bytes, limit_s: float) -> TrialVerdict:
        deadline_s = time.monotonic() + limit_s
        found = TrialVerdict(killed=f"it ran for more than {limit_s:g} s", is_slow=True)
        if not (self._send(value, deadline_s) and self._send(image, deadline_s)):
            return TrialVerdict(has_run=False)  # it has not seen the message
        while (received := self._receive(deadline_s)) is not None:
            if "frame" in received:
                found = replace(found, frame=_frame(received["frame"]))
            if received.get("done") is True:
                refused = (str(received["kind"]), str(received["reason"])) if "kind" in received else None
                return replace(found, killed=None, is_slow=False, refused=refused)
        return self._reason(found, deadline_s)

    def end(self) -> None:
        end_child(self._process)

    def _reason(self, found: TrialVerdict, deadline_s: float) -> TrialVerdict:
        if time.monotonic() >= deadline_s:
            return found
        found = replace(found, is_slow=False)
        try:
            status = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return replace(found, killed="it broke the answers of the trial")
        if status == 0:  # it had nothing to do for long, and ended before it read the message
            return replace(found, killed=None, has_run=False)
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return replace(found, killed=f"the process that read it ended with {how}")

    def _send(self, block: bytes, deadline_s: float) -> bool:
        content = memoryview(len(block).to_bytes(8, "big") + block)
        while content:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([], [self._into], [], left_s)[1]:
                return False
            try:
                content = content[os.write(self._into, content[:_READ_BYTES]) :]
            except BlockingIOError:
                continue
            except OSError:  # the child has ended
                return False
        return True

    def _receive(self, deadline_s: float) -> dict[str, Any] | None:
        """Return the next line of the child; None if it ends, writes something else, or is late."""
        while b"\n" not in self._received:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or len(self._received) > _LONGEST_LINE or not select.select([self._out], [], [], left_s)[0]:
                return None
            more = os.read(self._out, _READ_BYTES)
            if not more:
                return None
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        try:
            received = json.loads(line)
        except (ValueError, RecursionError):
            return None
        return received if isinstance(received, dict) else None


def _frame(head: Any) -> Frame | None:
    """Return the frame from a head that the child has sent; None if the head is invalid: the child is not trusted."""
    try:
        return from_values(Frame, {**head, "image": b"", "reference": None})
    except (InvalidRecord, ValueError, TypeError, KeyError):
        return None


def _half_of_memory() -> int:
    """Return half of the memory that this process may have, by its control groups or the machine."""
    return max(_LEAST_MEMORY_BYTES, (usable_memory_bytes() or 0) // 2)
