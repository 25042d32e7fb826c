"""Table of the contenders: their command lines, and the topics that they read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import peers
from benchmarks.line_topics import Stream
from infra.broker.ports import free_port
from infra.demo.processes import inspection_command
from stream_processors.worker.settings import share_of_cores


@dataclass(frozen=True, slots=True)
class Task:
    """Run of a contender: broker, topics, consumer group, model, threads of each worker, number of workers."""

    bootstrap_servers: str
    stream: Stream
    group: str
    model: Path
    threads: int
    workers: int = 1

    @property
    def in_flight(self) -> int:
        """Number of frames that are inspected at the same time."""
        return self.threads * self.workers


@dataclass(frozen=True, slots=True)
class Contender:
    """Command lines and properties of a contender.

    Parameters
    ----------
    commands
        Function that returns the command lines of all its processes.
    reads_frames
        True if it reads Avro frames (our worker), False if it reads bare JPEG.
    is_peer
        True if it runs in the environment of the peers.
    endless
        True if it sends images from memory, and so never ends.
    """

    commands: Callable[[Task], list[list[str]]]
    reads_frames: bool = False
    is_peer: bool = False
    endless: bool = False

    def decisions(self, stream: Stream) -> str:
        """Return the topic that the contender writes to."""
        return stream.decisions if self.reads_frames else stream.raw_decisions


def module(name: str, task: Task, *options: str, interpreter: str = sys.executable) -> list[str]:
    """Return the command line of a module in this package, see `benchmarks.contenders.job`; later options win."""
    return [
        interpreter, "-m", f"benchmarks.contenders.{name}", "--bootstrap-servers", task.bootstrap_servers,
        "--frames", task.stream.raw, "--decisions", task.stream.raw_decisions, "--group", task.group,
        "--model", str(task.model), "--threads", str(task.threads), *options,
    ]  # fmt: skip


def _served(server: str, *bridge: str) -> Contender:
    """Return a contender of two programs: a prediction server with a process for each frame in flight, and a bridge."""

    def commands(task: Task) -> list[list[str]]:
        shared = ("--url", f"http://127.0.0.1:{free_port()}", "--threads", str(task.in_flight))
        python = peers.python()
        return [
            module(server, task, *shared, interpreter=python),
            module("http_bridge", task, *shared, *bridge, interpreter=python),
        ]

    return Contender(commands, is_peer=True, endless="--from-memory" in bridge)


def _quix(task: Task) -> list[str]:
    return module("quix", task, interpreter=peers.python())


def _ours(task: Task, processes: int | None = None) -> list[list[str]]:
    """Return the commands of our worker: it shares the cores out by itself, or uses the given number of processes."""
    processes, threads = share_of_cores(processes, cores=task.threads)
    command = inspection_command(
        "worker", "--bootstrap-servers", task.bootstrap_servers, "--prefix", task.stream.prefix,
        "--group", task.group, "--model", str(task.model), "--processes", str(processes),
        "--threads", str(threads), "--http-port", "0",
    )  # fmt: skip
    return [command] * task.workers


LIMIT = "bare loop"
LIMIT_REDUCED = "bare loop, reduced decode"
LIMIT_ONE = "bare loop, 1 thread"
OURS = "inspection worker"
#: The same worker with processes of one thread each, as many as it otherwise has threads.
OURS_PROCESSES = f"{OURS}, processes"
FLASK = "flask, gunicorn"
QUIX = "quix streams"

CONTENDERS: Mapping[str, Contender] = {
    LIMIT: Contender(lambda task: [module("limit", task)] * task.workers),
    LIMIT_REDUCED: Contender(lambda task: [module("limit", task, "--reduced")] * task.workers),
    LIMIT_ONE: Contender(lambda task: [module("limit", task, "--threads", "1")]),
    OURS: Contender(_ours, reads_frames=True),
    OURS_PROCESSES: Contender(lambda task: _ours(task, task.threads), reads_frames=True),
    "aiokafka by hand": Contender(lambda task: [module("aiokafka_hand", task)] * task.workers),
    "plain faust": Contender(lambda task: [module("plain_faust", task)] * task.in_flight),
    QUIX: Contender(lambda task: [_quix(task)] * task.in_flight, is_peer=True),
    f"{QUIX}, 1 process": Contender(lambda task: [_quix(task)], is_peer=True),
    "fastapi, uvicorn": _served("fastapi_server"),
    FLASK: _served("flask_server"),
    f"{FLASK}, no Kafka before": _served("flask_server", "--from-memory"),
}
