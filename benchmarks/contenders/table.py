"""How each contender is started, and what it reads."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import peers
from benchmarks.line_topics import Stream
from infra.demo.processes import inspection_command
from stream_processors.settings import share_of_cores


@dataclass(frozen=True, slots=True)
class Task:
    """One run: where, as which group, with which model, in how many workers, on how many threads each."""

    bootstrap_servers: str
    stream: Stream
    group: str
    model: Path
    threads: int
    workers: int = 1

    @property
    def in_flight(self) -> int:
        """Frames inspected at a time."""
        return self.threads * self.workers


@dataclass(frozen=True, slots=True)
class Contender:
    """How it is started, and what is special about it.

    Parameters
    ----------
    commands
        All of its processes.
    reads_frames
        Avro frames (ours), not bare JPEG.
    is_peer
        It runs in the environment of the peers.
    endless
        It sends images from memory, and so is never through.
    """

    commands: Callable[[Task], list[list[str]]]
    reads_frames: bool = False
    is_peer: bool = False
    endless: bool = False

    def decisions(self, stream: Stream) -> str:
        """The topic that it writes to."""
        return stream.decisions if self.reads_frames else stream.raw_decisions


def module(name: str, task: Task, *options: str, interpreter: str = sys.executable) -> list[str]:
    """Command of a module in this package, see `benchmarks.contenders.job`; later options win."""
    return [
        interpreter, "-m", f"benchmarks.contenders.{name}", "--bootstrap-servers", task.bootstrap_servers,
        "--frames", task.stream.raw, "--decisions", task.stream.raw_decisions, "--group", task.group,
        "--model", str(task.model), "--threads", str(task.threads), *options,
    ]  # fmt: skip


def _served(server: str, *bridge: str) -> Contender:
    """A prediction server with as many processes as frames in flight, and the bridge to it."""

    def commands(task: Task) -> list[list[str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = ("--url", f"http://127.0.0.1:{port}", "--threads", str(task.in_flight))
        python = peers.python()
        return [
            module(server, task, *shared, interpreter=python),
            module("http_bridge", task, *shared, *bridge, interpreter=python),
        ]

    return Contender(commands, is_peer=True, endless="--from-memory" in bridge)


def _quix(task: Task) -> list[str]:
    return module("quix", task, interpreter=peers.python())


def _ours(task: Task, processes: int | None = None) -> list[list[str]]:
    """The worker, as it shares so many cores out by itself or in so many processes."""
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
#: The same with as many processes as it has threads otherwise, of one thread each.
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
