"""Line with two groups of workers, cameras and a gate, all as processes; and its accounts at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from infra.demo.processes import WorkerProcess, inspection_command
from operations.audit.counts import total
from operations.audit.topics import audit_topics
from replay.past.source import Source
from schemas import Frame, KafkaSettings
from schemas.codec import decode
from tests.support.faults import FULL, Load
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


class GateProcess:
    """`inspection actuate` whose figures are read when it ends."""

    def __init__(self, kafka: KafkaSettings, directory: Path, belt_ms: int = BELT_MS) -> None:
        self._out, self._log, self._journal = (directory / f"gate.{end}" for end in ("json", "log", "jsonl"))
        arguments = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
        arguments += ["--belt-ms", str(belt_ms), "--fault-after", "0", "--json"]
        arguments += ["--journal", str(self._journal)]
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self._process = subprocess.Popen(inspection_command("actuate", *arguments), stdout=out, stderr=log)
        until_s = time.monotonic() + 60
        while "gate ready" not in self._log.read_text():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until_s, "the gate is not ready"
            time.sleep(0.05)

    def end(self) -> dict[str, int]:
        """Let the parts on the belt pass, and return the counts."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        counts: dict[str, int] = json.loads(self._out.read_text())
        return counts

    def acts(self, since_us: int = 0) -> list[tuple[float, str]]:
        """Return the parts that were captured since a moment and acted on: seconds since then, and the reason."""
        lines = self._journal.read_text().splitlines(keepends=True) if self._journal.exists() else []
        acts = [json.loads(line) for line in lines if line.endswith("\n")]
        found = [((act["captured_at_us"] - since_us) / 1e6, act["why"]) for act in acts]
        return [(since_s, why) for since_s, why in found if since_s >= 0]

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class RedundantLine:
    """A worker of each of two groups, cameras at 20 frames a second, and a gate.

    ``second`` are the settings of the second group's worker: it may be behind a proxy.
    """

    def __init__(self, kafka: KafkaSettings, directory: Path, second: KafkaSettings | None = None) -> None:
        self._kafka, self._directory = kafka, directory
        self._settings = {False: kafka, True: second or kafka}
        self._started = 0
        self._fault_us = 0
        self._gate: GateProcess | None = None
        self.workers: dict[bool, WorkerProcess] = {}
        for is_second in (False, True):
            self.start(is_second)
        for worker in self.workers.values():
            worker.await_ready(120)
        self._gate = GateProcess(kafka, directory)
        self._load = Load(kafka, directory / "spool", fps=20, cameras=2, deadline_ms=DEADLINE_MS)

    def start(self, is_second: bool) -> None:
        """Start the worker of a group."""
        self._started += 1
        self.workers[is_second] = WorkerProcess(
            self._settings[is_second], model=None, group=self._kafka.prefix,
            log=self._directory / f"worker-{self._started}.log", options=["--redundant"] if is_second else [],
        )  # fmt: skip

    def begin_fault(self) -> None:
        """Wait until the line runs: a second of parts decided in a row. Then note the moment of the fault."""
        assert self._gate is not None
        until_s = time.monotonic() + 120
        while len(acts := self._gate.acts()[-20:]) < 20 or any(why != "decided" for _, why in acts):
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
        assert self._gate is not None
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
        gate = self._gate.end()
        assert counts.frames == counts.decided == wanted, (counts, gate)
        assert counts.conflicts == counts.late_accepts == 0, counts
        assert gate["accepted"] > 0
        acts = self._gate.acts(self._fault_us)
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
        if self._gate is not None:
            self._gate.close()
