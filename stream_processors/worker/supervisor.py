"""Several worker processes under one command, with one health endpoint and one page of metrics.

Threads of one process compete for Python's lock, processes do not: with a small network this lock limits a worker.
Each process is a complete worker, a member of the group with its own partitions. They start and end together: if one
ends, the others are stopped, and the command ends with its status.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from prometheus_client import CollectorRegistry, Metric

from stream_processors.worker.settings import DEFAULT_PORT, WorkerSettings
from transport.admin import require_topics
from transport.child_process import ChildFailed, ChildFailure, child_of, tell
from transport.http_server import serve_http
from transport.logs import set_up_logging
from transport.loopback import open_direct
from transport.merged_metrics import merged_metrics
from transport.stop_signals import stop_signals

log = logging.getLogger(__name__)

_POLL_S = 0.1
#: A member that does not answer within this time, in seconds, is unhealthy.
_ANSWER_S = 1.0
#: Time in which a member ends, in seconds: it finishes its frames, and leaves the group.
_STOPPED_S = 60.0


def run_workers(settings: WorkerSettings, *, shares_threads: bool = False) -> None:
    """Run ``settings.processes`` workers until one of the `stop_signals`, or until one of them ends.

    If there are fewer partitions, only one process for each partition runs. With ``shares_threads`` these processes
    share the threads of all.

    Raises
    ------
    BrokerUnavailable, TopicMissing, SettingsError
        See `stream_processors.worker.run.run_worker`.
    ChildFailed
        If a worker ended with an error; the text is its last line.
    """
    frames = settings.kafka.frames
    partitions = require_topics(settings.kafka, [frames])[frames]
    count = min(settings.processes, partitions)
    if count < settings.processes:
        log.warning("%s has %d partitions: %d processes, more would have nothing to do", frames, partitions, count)
        if shares_threads:
            settings = replace(settings, threads=round(settings.processes * settings.threads / count))
    asyncio.run(_run(settings, count))


async def _run(settings: WorkerSettings, count: int) -> None:
    stop = asyncio.Event()
    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    supervisor = WorkerSupervisor(replace(settings, processes=1, http_host="127.0.0.1", http_port=0), count)
    registry = CollectorRegistry()
    registry.register(supervisor)
    with ExitStack() as endpoint:
        try:
            url = endpoint.enter_context(
                serve_http(
                    registry,
                    settings.http_port,
                    settings.http_host,
                    health=supervisor.health,
                    default_port=DEFAULT_PORT,
                )
            )
            log.info("%d processes of %d threads, health at %s/health", count, settings.threads, url)
            stopped = asyncio.ensure_future(stop.wait())
            while not stopped.done() and supervisor.all_run():
                await asyncio.wait({stopped}, timeout=_POLL_S)
            stopped.cancel()
            if not stop.is_set():
                log.error("a process has ended, ending the others")
        finally:
            # Also if the endpoint cannot listen; it serves until the frames in flight are answered.
            await asyncio.to_thread(supervisor.stop)
    if not stop.is_set():
        raise supervisor.failure()
    log.info("stopped")


@dataclass(slots=True)
class _Child:
    process: Any
    pipe: Connection
    url: str | None = None
    error: ChildFailed | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read_messages(self) -> None:
        """Read the messages of the process: the address of its endpoint, or the reason why it ends. Thread-safe."""
        with self.lock:
            try:
                while self.pipe.poll():
                    message = self.pipe.recv()
                    if isinstance(message, ChildFailure):
                        self.error = message.error()
                    else:
                        self.url = message
            except (EOFError, OSError):
                return

    def ask(self, path: str) -> bytes | None:
        """Return the answer of its endpoint, even if the process is unhealthy; None if there is no answer."""
        self.read_messages()
        if self.url is None:
            return None
        try:
            with open_direct(self.url + path, _ANSWER_S) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            return error.read()
        except OSError:
            return None

    def report(self) -> dict[str, Any]:
        """Return its health report."""
        try:
            found: dict[str, Any] = json.loads(self.ask("/health") or b"")
        except ValueError:
            return {"ok": False, "reason": "it does not answer"}
        return found


class WorkerSupervisor:
    """Running worker processes; collects the metrics of all, with the label ``process``.

    Parameters
    ----------
    settings
        Settings of each process.
    count
        Number of processes.
    """

    def __init__(self, settings: WorkerSettings, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        level = logging.getLogger().level
        self._children: list[_Child] = []
        for number in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_run_child, args=(settings, number, level, theirs), name=f"worker-{number}", daemon=True
            )
            process.start()
            theirs.close()
            self._children.append(_Child(process, ours))

    def all_run(self) -> bool:
        """Return True if no process has ended."""
        return all(child.process.is_alive() for child in self._children)

    def failure(self) -> BaseException:
        """Return the exception with which the command ends after a process has ended by itself."""
        for child in self._children:
            child.read_messages()
            if child.error is not None:
                return child.error
        codes = [child.process.exitcode or 0 for child in self._children]
        return SystemExit(next((code for code in codes if code > 0), 1))

    def stop(self) -> None:
        """Stop the processes, and wait until they have finished their frames in flight; kill those that are frozen."""
        for child in self._children:
            if child.process.is_alive():
                child.process.terminate()
        until_s = time.monotonic() + _STOPPED_S
        for number, child in enumerate(self._children):
            child.process.join(max(0.0, until_s - time.monotonic()))
            if child.process.is_alive():
                log.error("process %d does not end, killing it", number)
                child.process.kill()
                child.process.join()

    def health(self) -> dict[str, Any]:
        """Return one report on all processes: healthy if all are, with the partitions of all."""
        reports = [child.report() for child in self._children]
        troubles = [
            f"process {number}: {report.get('reason') or 'it is not well'}"
            for number, report in enumerate(reports)
            if not report["ok"]
        ]
        contacts = [report.get("connected") for report in reports]
        return {
            "ok": not troubles,
            "reason": "; ".join(troubles) or None,
            "group": reports[0].get("group"),
            "model": reports[0].get("model"),
            "assigned": sorted(partition for report in reports for partition in report.get("assigned", ())),
            "rebalancing": any(report.get("rebalancing", True) for report in reports),
            "connected": False if False in contacts else None if None in contacts else True,
            "processes": reports,
        }

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all processes, except those of a process that does not answer."""
        children = enumerate(self._children)
        yield from merged_metrics({str(number): (child.ask("/metrics") or b"").decode() for number, child in children})


def _run_child(settings: WorkerSettings, number: int, level: int, pipe: Connection) -> None:
    """Run one worker process of the supervisor."""
    set_up_logging(level, f"worker {number}")
    with child_of(pipe):
        from stream_processors.worker.run import run_worker

        run_worker(settings, announce=partial(tell, pipe))
