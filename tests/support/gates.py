"""A gate that is driven step by step on a clock turned by hand, and killed when a test says so."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from actuators import GateRunner, GateSettings, Instruction
from actuators.drift_watch import DriftSource
from actuators.testing import ListDecisions, RecordingActuator
from schemas import Decision
from schemas.clock import ManualClock


class SteppedGate:
    """A `GateRunner` whose thread is the test's."""

    def __init__(
        self,
        clock: ManualClock,
        settings: GateSettings,
        state_dir: Path | None = None,
        drift: DriftSource | None = None,
    ) -> None:
        self.clock = clock
        self.source = ListDecisions(waits=False)
        self.driver = RecordingActuator(clock)
        self.runner = GateRunner(self.source, self.driver, settings, state_dir=state_dir, drift=drift, clock=clock)
        # What `start` does, less the thread.
        self.runner._line.open()
        if self.runner._acted is not None:
            for key, captured_at_us in self.runner._acted.open():
                self.runner._tracker.recall(*key, captured_at_us)
        self.runner._drift.open()
        self.source.open()
        self.driver.open()
        self.runner._thread = threading.current_thread()
        self.turn()

    @property
    def acts(self) -> list[tuple[float, Instruction]]:
        """Instructions, each with the time of its act on the clock."""
        return list(zip(self.driver.acted_at_s, self.driver.instructions, strict=True))

    def turn(self) -> None:
        while self.source.waiting:
            self.runner._run_once()
        self.runner._run_once()

    def offer(self, decision: Decision) -> None:
        self.source.waiting.append(decision)
        self.turn()

    def expect(self, part: str, captured_at_us: int, camera: str = "cam", frame: str | None = None) -> bool:
        return self.runner.expect(part, station="s", camera_id=camera, captured_at_us=captured_at_us, frame_id=frame)

    def advance(self, seconds: float) -> None:
        """Let time pass, with a turn at each arrival."""
        until = self.clock.monotonic_s() + seconds
        while True:
            due = self.runner._tracker.next_due_s
            if due is None or due > until:
                break
            self.clock.advance(max(0.0, due - self.clock.monotonic_s()) + 1e-9)
            self.turn()
        self.clock.advance(max(0.0, until - self.clock.monotonic_s()))
        self.turn()

    def kill(self) -> None:
        """As `kill -9`: nothing is flushed or closed in order; only what the system closes is closed."""
        store, acted = self.runner._line._store, self.runner._acted
        if store is not None:
            store.close()
        if acted is not None and acted._file is not None:
            os.close(acted._file)
            acted._file = None
