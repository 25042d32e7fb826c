"""How each contender is started, and what it reads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.line_topics import Stream
from infra.demo.processes import inspection_command


@dataclass(frozen=True, slots=True)
class Task:
    """One run: where, as which group, with which model, on how many threads, in how many processes."""

    bootstrap_servers: str
    stream: Stream
    group: str
    model: Path
    threads: int
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Contender:
    """Commands to start, and whether it reads Avro frames (ours) or bare JPEG."""

    commands: Callable[[Task], list[list[str]]]
    reads_frames: bool = False

    def decisions(self, stream: Stream) -> str:
        """The topic that it writes to."""
        return stream.decisions if self.reads_frames else stream.raw_decisions


def module(name: str, task: Task, *options: str) -> list[str]:
    """Command of a module in this package, see `benchmarks.contenders.job`."""
    return [
        sys.executable, "-m", f"benchmarks.contenders.{name}", "--bootstrap-servers", task.bootstrap_servers,
        "--frames", task.stream.raw, "--decisions", task.stream.raw_decisions, "--group", task.group,
        "--model", str(task.model), "--threads", str(task.threads), *options,
    ]  # fmt: skip


def _ours(task: Task) -> list[list[str]]:
    command = inspection_command(
        "worker", "--bootstrap-servers", task.bootstrap_servers, "--prefix", task.stream.prefix,
        "--group", task.group, "--model", str(task.model), "--threads", str(task.threads), "--http-port", "0",
    )  # fmt: skip
    return [command] * task.workers


LIMIT = "bare loop"
LIMIT_REDUCED = "bare loop, reduced decode"
LIMIT_ONE = "bare loop, 1 thread"
OURS = "inspection worker"

CONTENDERS: Mapping[str, Contender] = {
    LIMIT: Contender(lambda task: [module("limit", task)] * task.workers),
    LIMIT_REDUCED: Contender(lambda task: [module("limit", task, "--reduced")] * task.workers),
    LIMIT_ONE: Contender(lambda task: [module("limit", task, "--threads", "1")]),
    OURS: Contender(_ours, reads_frames=True),
}
