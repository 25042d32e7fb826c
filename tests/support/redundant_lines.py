"""Line with two groups of workers, cameras and a gate, all as processes; and its accounts at the end."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from infra.demo.processes import WorkerProcess
from operations.audit.counts import total
from operations.audit.topics import audit_topics
from replay.past.source import Source
from schemas import Frame, KafkaSettings
from schemas.codec import decode
from tests.support.faults import FULL, Load
from tests.support.line_users import LineUsers
from tests.support.programs import Programs
from transport.range_reader import read_topic

#: The deadline of a quick line at length; in the short form one that a loaded machine keeps. The faults last longer.
DEADLINE_MS = 700 if FULL else 10_000
BELT_MS = DEADLINE_MS + (100 if FULL else 2_000)


@dataclass(frozen=True)
class GateFigures:
    """Figures of a gate, and of the audit of its line."""

    frames: int
    failsafe: int
    conflicts: int
    superseded: int
    redundant: int
    duplicates: int


class RedundantLine:
    """A worker of each of two groups, cameras at 20 frames a second, and a gate.

    ``second`` are the settings of the second group's worker: it may be behind a proxy.
    """

    def __init__(self, users: LineUsers, directory: Path, second: KafkaSettings | None = None) -> None:
        self._kafka, self._directory = users.reviewer, directory
        self._settings = {False: users.worker, True: second or users.worker}
        self._worker_file = users.worker_file
        self._started = 0
        self._fault_us = 0
        self._programs = Programs(directory, users.gate.prefix)
        self._programs.connect("gate", {"bootstrap.servers": users.gate.bootstrap_servers, **dict(users.gate.client)})
        self.workers: dict[bool, WorkerProcess] = {}
        for is_second in (False, True):
            self.start(is_second)
        for worker in self.workers.values():
            worker.await_ready(120)
        gate = ("--belt-ms", str(BELT_MS), "--fault-after", "0", "--journal", str(self._programs.journal), "--json")
        self._programs.start("actuate", *gate, until="gate ready")
        self._load = Load(users.camera, directory / "spool", fps=20, cameras=2, deadline_ms=DEADLINE_MS)

    def start(self, is_second: bool) -> None:
        """Start the worker of a group."""
        self._started += 1
        self.workers[is_second] = WorkerProcess(
            self._settings[is_second], model=None, group=self._kafka.prefix,
            log=self._directory / f"worker-{self._started}.log", options=["--redundant"] if is_second else [],
            client_file=self._worker_file,
        )  # fmt: skip

    def begin_fault(self) -> None:
        """Wait until the line runs: a second of parts decided in a row. Then note the moment of the fault."""
        until_s = time.monotonic() + 120
        while len(acts := self._programs.acts()[-20:]) < 20 or any(act["why"] != "decided" for act in acts):
            assert time.monotonic() < until_s, f"the line does not get under way: {acts}"
            time.sleep(0.2)
        self._fault_us = time.time_ns() // 1000

    def signal(self, is_second: bool, number: int) -> None:
        os.kill(self.workers[is_second].pid, number)

    def await_shed(self, is_second: bool, timeout_s: float = 60) -> None:
        """Wait until a worker that comes back has answered frames that are too old."""
        until_s = time.monotonic() + timeout_s
        while not self.workers[is_second].metric("inspection_shed_total"):
            assert time.monotonic() < until_s, "the worker that came back has shed nothing"
            time.sleep(0.1)

    def settle(self) -> GateFigures:
        """End the load, wait for all answers of both groups, and compare everything."""
        self._load.end()
        wanted = len(self._load.captured)
        until_s = time.monotonic() + 90
        while True:
            counts = total(audit_topics(Source(self._kafka)).cameras())
            if counts.redundant >= wanted and not counts.unaccounted:
                break
            assert time.monotonic() < until_s, counts
            time.sleep(0.5)
        time.sleep(BELT_MS / 1000)
        self._programs.stop("actuate")
        gate = self._programs.report("actuate")
        assert counts.frames == counts.decided == wanted, (counts, gate)
        assert counts.conflicts == counts.late_accepts == 0, counts
        assert gate["accepted"] > 0
        acts = [
            ((act["captured_at_us"] - self._fault_us) / 1e6, act["why"])
            for act in self._programs.acts() if act["captured_at_us"] >= self._fault_us
        ]  # fmt: skip
        frames = [decode(message.value, Frame) for message in read_topic(self._kafka, self._kafka.frames)]
        assert len(acts) == sum(frame.captured_at_us >= self._fault_us for frame in frames)
        undecided = [each for each in acts if each[1] != "decided"]
        if undecided:
            print(f"seconds after the fault, reason: {undecided}")  # noqa: T201 - pytest shows it if the test fails
        return GateFigures(
            wanted, len(undecided), gate["conflict_parts"] + gate["conflicts"] + gate["late_contradictions"],
            gate["superseded"], counts.redundant, counts.duplicates,
        )  # fmt: skip

    def close(self) -> None:
        for worker in self.workers.values():
            worker.stop()
        self._programs.close()
