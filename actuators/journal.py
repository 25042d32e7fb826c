"""Journal of a gate: one JSON line for each part, in a hash chain (`transport.chained_file`)."""

from __future__ import annotations

import errno
import fcntl
import logging
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, cast

from actuators.actuator import Instruction
from schemas.clock import Clock, SystemClock
from schemas.errors import SettingsError
from transport.chained_file import ChainEnd, chain_line, end_after, end_of_file

log = logging.getLogger(__name__)
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC


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
        self._end = ChainEnd()

    def open(self) -> None:
        """Open and lock the file: the lines of two gates would break each other's chain.

        A device or a pipe, which has no chain to continue, is not locked. The gate never waits for the reader of a
        pipe: what does not fit is an error that is counted.

        Raises
        ------
        SettingsError
            If the file cannot be opened or another gate writes it: reported at the start, not at the first part.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: the system has a line when `write` returns, and a failed write leaves nothing to come later.
            file = cast(BinaryIO, os.fdopen(os.open(self.path, _FLAGS, 0o666), "ab", buffering=0))
            try:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._end = end_of_file(self.path)
            except BaseException:
                file.close()
                raise
        except BlockingIOError as error:
            raise SettingsError(f"the journal {self.path} is in use by another gate; name another file") from error
        except OSError as error:
            reason = "no program reads this pipe" if error.errno == errno.ENXIO else error.strerror or error
            raise SettingsError(f"cannot write the journal {self.path}: {reason}") from error
        self._file = file

    def write(self, instruction: Instruction) -> None:
        """Append the line of a part that the gate has just acted on."""
        if self._file is None:
            return
        if self._is_moved(self._file):
            try:
                self._go_on_in_new_file(self._file)
            except SettingsError as error:
                self._failed(str(error))
                return
        late_s = self._clock.monotonic_s() - instruction.act_at_s
        entry = journal_entry(instruction, self._clock.utc_us(), late_s * 1e3)
        line = chain_line(entry, self._end)
        # A truncated line may be the last one: the next line then begins on a line of its own.
        data = b"\n" + line if self._end.is_torn else line
        try:
            written = self._file.write(data) or 0  # None: a pipe is full
        except OSError as error:
            self._failed(error.strerror or str(error))
            return
        if written != len(data):
            self._cut(data[:written])
            self._failed(f"only {written} of {len(data)} bytes fit")
            return
        self.lines += 1
        self._failing = False
        self._end = end_after(line, self._end.line + 1)

    def _is_moved(self, file: BinaryIO) -> bool:
        """Return True if the path no longer leads to the open file: logrotate has renamed it, or it was deleted."""
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(file.fileno()))
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def _go_on_in_new_file(self, former: BinaryIO) -> None:
        """Open the file that the path leads to now; the chain goes on in it, so that no line can be left out."""
        end = self._end
        self.open()
        former.close()
        if self._end == ChainEnd():
            self._end = ChainEnd(end.line, end.sha256)
        log.warning("the journal %s was moved or deleted: it goes on in a new file", self.path)

    def _cut(self, written: bytes) -> None:
        """Continue the chain behind a line of which only a part is in the file."""
        if self._end.is_torn:
            if not written:
                return
            written = written[1:]
        if written:
            self._end = end_after(written, self._end.line + 1, is_torn=True)
        elif self._end.is_torn:
            self._end = ChainEnd(self._end.line, self._end.sha256)  # its line break is there now

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
