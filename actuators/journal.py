"""Journal of a gate: one JSON line for each part."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any, BinaryIO, cast

from actuators.actuator import Instruction
from schemas.clock import Clock, SystemClock
from schemas.errors import SettingsError

log = logging.getLogger(__name__)


class Journal:
    """File to which each action of the gate is appended; each line is passed to the operating system at once.

    A full disk must not stop the line. Errors are counted in ``errors`` and logged once until a line succeeds again,
    and the gate continues.

    Parameters
    ----------
    path
        The file; missing parent directories are created, and an existing file is continued.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path = path
        self.lines = 0
        self.errors = 0
        self._clock = clock or SystemClock()
        self._file: BinaryIO | None = None
        self._failing = False
        self._torn = False

    def open(self) -> None:
        """Open the file.

        Raises
        ------
        SettingsError
            If the file cannot be opened: reported at the start, not at the first part.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: the system has a line when `write` returns, and a failed write leaves nothing to come later.
            self._file = cast(BinaryIO, self.path.open("ab", buffering=0))
        except OSError as error:
            raise SettingsError(f"cannot write the journal {self.path}: {error.strerror or error}") from error

    def write(self, instruction: Instruction) -> None:
        """Append the line of a part that the gate has just acted on."""
        if self._file is None:
            return
        late_s = self._clock.monotonic_s() - instruction.act_at_s
        entry = journal_entry(instruction, self._clock.utc_us(), late_s * 1e3)
        # A truncated line may be the last one: the next line then begins on a line of its own.
        line = (b"\n" if self._torn else b"") + json.dumps(entry, allow_nan=False).encode() + b"\n"
        try:
            written = self._file.write(line)
        except OSError as error:
            self._failed(error.strerror or str(error))
            return
        if written != len(line):
            self._torn = self._torn or written > 0
            self._failed(f"only {written} of {len(line)} bytes fit")
            return
        self.lines += 1
        self._failing = self._torn = False

    def _failed(self, reason: str) -> None:
        self.errors += 1
        if not self._failing:
            log.error("journal %s: %s; the gate goes on without it", self.path, reason)
        self._failing = True

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                log.debug("journal %s: %s", self.path, error)
            self._file = None


def journal_entry(instruction: Instruction, acted_at_us: int, lateness_ms: float) -> dict[str, Any]:
    """Return the fields of a line: action, reason, decision and times (UTC µs; lateness of the act in ms)."""
    decision = instruction.decision
    score = None if decision is None else decision.score
    return {
        "part_key": instruction.part_key,
        "station": instruction.station,
        "camera_id": instruction.camera_id,
        "action": instruction.action.value,
        "why": instruction.reason.value,
        "episode_id": instruction.episode_id,
        "decision_id": instruction.decision_id,
        "verdict": None if decision is None else decision.verdict.value,
        "score": score if score is not None and math.isfinite(score) else None,
        "reason": None if decision is None else decision.reason,
        "captured_at_us": instruction.captured_at_us,
        "decided_at_us": None if decision is None else decision.decided_at_us,
        "armed_at_us": instruction.armed_at_us,
        "act_at_us": instruction.act_at_us,
        "acted_at_us": acted_at_us,
        "lateness_ms": round(lateness_ms, 3),
    }
