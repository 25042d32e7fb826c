"""Processes of a contender: start, end, and samples of their CPU time and memory."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import psutil

from infra.parent_death import end_with_parent

_SAMPLE_S = 0.05
_STOP_S = 20.0


@dataclass(slots=True)
class Sampled:
    """Samples of CPU seconds and resident bytes of processes, at times in seconds since 1970.

    ``pss``, taken once a second, counts memory that processes share only once; ``rss`` counts it in each process.
    """

    times: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    pss: list[int] = field(default_factory=list)

    def cpu_between(self, begin: float, end: float) -> float:
        """Return the CPU seconds between two times, interpolated."""
        return self._cpu_at(end) - self._cpu_at(begin)

    def _cpu_at(self, at: float) -> float:
        return float(np.interp(at, self.times, self.cpu_s))


class Running:
    """Running processes of one contender; samples of them, of the broker and of the whole machine.

    Parameters
    ----------
    commands
        Command lines, started in this order; the output of each process goes to a file.
    broker_pid
        Process id of the broker.

    Raises
    ------
    RuntimeError
        From `check`, if a process has ended by itself. The message has the end of its output.
    """

    def __init__(self, commands: Sequence[Sequence[str]], broker_pid: int) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self._logs = [Path(self._scratch.name) / f"{number}.log" for number in range(len(commands))]
        self._started: list[subprocess.Popen[bytes]] = []
        for command, log in zip(commands, self._logs, strict=True):
            with log.open("wb") as out:
                self._started.append(
                    subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, preexec_fn=end_with_parent())
                )
        self.own, self.broker, self.machine = Sampled(), Sampled(), Sampled()
        self._broker = psutil.Process(broker_pid)
        self._known: dict[int, psutil.Process] = {}
        self._last_cpu_s: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise if a process no longer runs."""
        for process, log in zip(self._started, self._logs, strict=True):
            if process.poll() is not None:
                raise RuntimeError(f"ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")

    def logged(self) -> str:
        """Return the output of all processes so far."""
        return "".join(log.read_text(errors="replace") for log in self._logs)

    def _sample(self) -> None:
        number = 0
        while not self._stop.wait(_SAMPLE_S):
            if number % 20 == 0:  # child processes start at the beginning
                self._find()
                self.own.pss.append(sum(_pss(process) for process in self._known.values()))
            number += 1
            now, rss = time.time(), 0
            for pid, process in list(self._known.items()):
                try:
                    with process.oneshot():
                        spent = process.cpu_times()
                        rss += process.memory_info().rss
                except psutil.NoSuchProcess:
                    del self._known[pid]
                    continue
                self._last_cpu_s[pid] = spent.user + spent.system
            self.own.times.append(now)
            self.own.cpu_s.append(sum(self._last_cpu_s.values()))
            self.own.rss.append(rss)
            spent = self._broker.cpu_times()
            self.broker.times.append(now)
            self.broker.cpu_s.append(spent.user + spent.system)
            everyone = psutil.cpu_times()
            self.machine.times.append(now)
            self.machine.cpu_s.append(sum(everyone) - everyone.idle - everyone.iowait - everyone.guest)

    def _find(self) -> None:
        for started in self._started:
            try:
                root = psutil.Process(started.pid)
                for process in (root, *root.children(recursive=True)):
                    self._known.setdefault(process.pid, process)
            except psutil.NoSuchProcess:
                continue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for process in reversed(self._started):
            if process.poll() is None:
                process.terminate()
        for process in reversed(self._started):
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._scratch.cleanup()


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
