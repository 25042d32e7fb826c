"""Several processes of a gateway behind one port, which the kernel shares out among them (SO_REUSEPORT).

Each process is a complete gateway with a name of its own, and reads all decisions. So a key and a frame id mean the
same in all of them (see `gateway.siblings`). They start and end together: if one ends, the others are stopped, and the
command ends with its status.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gateway.report import GatewayReport
from gateway.run import run_gateway
from gateway.server import bind, url_of
from gateway.settings import GatewaySettings, default_instance
from gateway.siblings import Siblings, require_short
from schemas.settings import KafkaSettings
from transport.child_process import ChildFailed, ChildFailure, child_of, tell
from transport.logs import set_up_logging

log = logging.getLogger(__name__)
_POLL_S = 0.1
#: Time of a process to close its clients of Kafka, after it has answered the requests at hand, in seconds.
_CLOSED_S = 20.0


@dataclass(frozen=True)
class _Ready:
    """First message of a process: it listens."""


@dataclass(slots=True)
class _Child:
    number: int
    process: Any
    pipe: Connection
    is_ready: bool = False
    report: GatewayReport | None = None
    failure: ChildFailed | None = None

    def read_messages(self) -> None:
        try:
            while self.pipe.poll():
                message = self.pipe.recv()
                if isinstance(message, ChildFailure):
                    self.failure = message.error()
                elif isinstance(message, GatewayReport):
                    self.report = message
                else:
                    self.is_ready = True
        except (EOFError, OSError):
            return


def run_processes(
    kafka: KafkaSettings,
    settings: GatewaySettings,
    count: int,
    stop: threading.Event,
    on_ready: Callable[[str], object] = lambda url: None,
) -> GatewayReport:
    """Run a gateway of several processes until the stop event is set, or until one of them ends.

    Parameters
    ----------
    on_ready
        Called with the address once all processes listen.

    Raises
    ------
    SettingsError
        If the address or the folder of temporary files cannot be used.
    ChildFailed
        If a process ended, or does not end after the stop; the text is its error.
    """
    # A bound socket that does not listen keeps the port, and gets no connections.
    with (
        tempfile.TemporaryDirectory(prefix="inspection-gateway-") as folder,
        bind(replace(settings, instance=settings.instance or "unused", reuse_port=True)) as place,
    ):
        require_short(Path(folder))
        host, port = place.getsockname()[:2]
        instance = settings.instance or default_instance(port)
        url = url_of(place, settings)
        children: list[_Child] = []
        try:
            for number in range(count):
                named = replace(settings, host=str(host), port=port, reuse_port=True, instance=f"{instance}-{number}")
                children.append(_start(kafka, named, Siblings(Path(folder), number, count)))
            is_announced = False
            while not stop.wait(_POLL_S) and all(child.process.is_alive() for child in children):
                for child in children:
                    child.read_messages()
                if not is_announced and all(child.is_ready for child in children):
                    is_announced = True
                    log.info("gateway at %s: %s, %d processes", url, kafka.bootstrap_servers, count)
                    on_ready(url)
            has_failed = not stop.is_set()
            if has_failed:
                log.error("a process has ended, ending the others")
        finally:
            killed = _stop(children, settings.stop_s + _CLOSED_S)
    if has_failed:
        raise _failure(children)
    if killed:
        numbers = ", ".join(str(child.number) for child in killed)
        raise ChildFailed(f"these processes of the gateway did not end in time and were killed: {numbers}", 1)
    return GatewayReport.of([child.report for child in children if child.report is not None])


def _start(kafka: KafkaSettings, settings: GatewaySettings, siblings: Siblings) -> _Child:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_run_child,
        args=(kafka, settings, siblings, logging.getLogger().level, theirs),
        name=f"gateway-{siblings.number}",
        daemon=True,
    )
    process.start()
    theirs.close()
    return _Child(siblings.number, process, ours)


def _stop(children: list[_Child], within_s: float) -> list[_Child]:
    """Ask all processes to end, and wait until they have answered what is at hand.

    A process that does not end in time, as one that is frozen, is killed; return those.
    """
    for child in children:
        if child.process.is_alive():
            child.process.terminate()
    killed = []
    until_s = time.monotonic() + within_s
    for child in children:
        while child.process.is_alive():
            child.process.join(_POLL_S)
            child.read_messages()  # a process waits until its last message is read
            if time.monotonic() >= until_s and child.process.is_alive():
                log.error("process %d does not end, killing it", child.number)
                child.process.kill()
                child.process.join()
                killed.append(child)
        child.read_messages()
    return killed


def _failure(children: list[_Child]) -> ChildFailed:
    for child in children:
        if child.failure is not None:
            return child.failure
    ended = next((child for child in children if child.process.exitcode not in (0, None)), children[0])
    return ChildFailed(f"process {ended.number} of the gateway ended with status {ended.process.exitcode}", 1)


def set_on_sigterm(stop: threading.Event) -> None:
    """Set an event at SIGTERM, in a thread: a handler may interrupt code that has the lock of the event."""
    reader, writer = os.pipe()
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.write(writer, b"."))

    def await_signal() -> None:
        os.read(reader, 1)
        stop.set()

    threading.Thread(target=await_signal, name="signals", daemon=True).start()


def _run_child(
    kafka: KafkaSettings, settings: GatewaySettings, siblings: Siblings, level: int, pipe: Connection
) -> None:
    stop = threading.Event()
    set_on_sigterm(stop)
    set_up_logging(level, f"gateway {siblings.number}")
    try:
        with child_of(pipe):
            tell(pipe, run_gateway(kafka, settings, stop, lambda _url: tell(pipe, _Ready()), siblings=siblings))
    finally:
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():  # it was killed, and left the sockets of its processes
            shutil.rmtree(siblings.folder, ignore_errors=True)
