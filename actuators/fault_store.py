"""FAULT on file: it survives the process, and a person's reset reaches the gate through the same directory.

::

    <state_dir>/gate.lock          locked by the running gate
    <state_dir>/gate.fault.json    RUNNING or FAULT; anything that cannot be read is a FAULT
    <state_dir>/gate.reset.json    a reset that the running gate has yet to take; names the fault it ends
    <state_dir>/gate.trail.jsonl   all resets, in a hash chain; a line is on the device before its FAULT ends
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from actuators.fault import Fault, new_fault
from schemas.errors import SettingsError
from schemas.private_files import lock_private, make_private_folder, read_private, replace_private
from transport.chained_file import append_line

#: `inspection gate reset` locks the directory for a moment; a gate that starts just then waits this long, in seconds.
_LOCK_PATIENCE_S = 2.0
#: File of all resets.
TRAIL_FILE = "gate.trail.jsonl"


class StateInUse(SettingsError):
    """Another process has locked the state directory."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset of a fault: its id, the person, what the person found, and the time (UTC µs).

    ``uid`` is the user of the operating system that asked for it; -1: unknown. It is never taken from a request.
    """

    fault_id: str
    who: str
    note: str
    at_us: int
    uid: int = -1

    def __post_init__(self) -> None:
        if not (self.who.strip() and self.note.strip()):
            raise SettingsError("a reset names who does it, and has a note of what was found")


@dataclass(frozen=True, slots=True)
class PersistedFault:
    """Content of the fault file: the fault (None if RUNNING), the last reset, and True if the file could be read."""

    fault: Fault | None
    last_reset: Reset | None = None
    is_readable: bool = True


class FaultStore:
    """Files of one gate. Each write is atomic and flushed to the device.

    Raises
    ------
    SettingsError
        From `open`, if the directory cannot be written or another gate uses it; from `save`, if it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> store = FaultStore(Path(tempfile.mkdtemp()))
    >>> store.open()
    >>> store.load(now_us=0).fault is None
    True
    >>> store.save(PersistedFault(Fault("f1", 0, "3 parts in a row without a usable decision", 3)))
    >>> store.load(now_us=0).fault.fault_id
    'f1'
    >>> store.close()
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.path = state_dir / "gate.fault.json"
        self.trail_path = state_dir / TRAIL_FILE
        self._reset_path = state_dir / "gate.reset.json"
        self._lock: IO[bytes] | None = None

    @property
    def is_open(self) -> bool:
        """True if this process has locked the directory."""
        return self._lock is not None

    def open(self, patience_s: float = _LOCK_PATIENCE_S) -> None:
        """Lock the directory for this process."""
        path = self.state_dir / "gate.lock"
        try:
            make_private_folder(self.state_dir)
            lock = lock_private(path, wait_s=patience_s)
        except OSError as error:
            raise SettingsError(
                f"cannot write state into {self.state_dir}: {path.name}: {error.strerror or error}"
            ) from error
        if lock is None:
            raise StateInUse(f"{self.state_dir} is in use by another gate")
        self._lock = lock

    def close(self) -> None:
        """Unlock the directory. Idempotent."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def load(self, now_us: int) -> PersistedFault:
        """Return the content of the file; a FAULT if it cannot be read, because it may have contained one."""
        try:
            data = read_private(self.path)
        except FileNotFoundError:
            return PersistedFault(None)
        except OSError as error:
            return PersistedFault(new_fault(f"{self.path} cannot be read ({error})", now_us), is_readable=False)
        try:
            return _parse(json.loads(data))
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError, SettingsError):
            return PersistedFault(
                new_fault(f"{self.path} does not say whether there was a fault", now_us), is_readable=False
            )

    def save(self, stored: PersistedFault) -> None:
        """Replace the content of the file."""
        content = {
            "state": "RUNNING" if stored.fault is None else "FAULT",
            "fault": None if stored.fault is None else dataclasses.asdict(stored.fault),
            "last_reset": None if stored.last_reset is None else dataclasses.asdict(stored.last_reset),
        }
        _replace(self.path, content)

    def end(self, fault: Fault, reset: Reset) -> None:
        """Record a reset in the trail, and then end its fault on file."""
        entry = {
            "act": "gate-reset",
            "fault_id": fault.fault_id,
            "since_us": fault.since_us,
            "reason": fault.reason,
            "who": reset.who,
            "note": reset.note,
            "uid": reset.uid,
            "at_us": reset.at_us,
        }
        try:
            append_line(self.trail_path, entry)
        except OSError as error:
            raise SettingsError(f"cannot write {self.trail_path}: {error.strerror or error}") from error
        self.save(PersistedFault(None, reset))

    def request(self, reset: Reset) -> None:
        """Write a reset for the running gate."""
        _replace(self._reset_path, dataclasses.asdict(reset))

    def take_request(self) -> Reset | None:
        """Take and delete the pending reset; None if there is no request.

        Raises
        ------
        SettingsError
            If the pending file is not a valid reset. It is raised once, because the file is deleted.
        """
        try:
            uid = self._reset_path.lstat().st_uid
            data = read_private(self._reset_path)
            self._reset_path.unlink()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError(f"{self._reset_path}: {error.strerror or error}") from error
        try:
            return dataclasses.replace(_reset(json.loads(data)), uid=uid)
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SettingsError(f"{self._reset_path} is not a valid reset; it was deleted") from error


def _parse(content: dict[str, Any]) -> PersistedFault:
    last = content["last_reset"]
    last_reset = None if last is None else _reset(last)
    found = content["fault"]
    if content["state"] == "RUNNING" and found is None:
        return PersistedFault(None, last_reset)
    if content["state"] != "FAULT":
        raise ValueError(f"state {content['state']!r}")
    fault = Fault(str(found["fault_id"]), int(found["since_us"]), str(found["reason"]), int(found["in_a_row"]))
    return PersistedFault(fault, last_reset)


def _reset(content: dict[str, Any]) -> Reset:
    fault_id, who, note = (str(content[name]) for name in ("fault_id", "who", "note"))
    return Reset(fault_id, who, note, int(content["at_us"]), int(content.get("uid", -1)))


def _replace(path: Path, content: dict[str, Any]) -> None:
    try:
        replace_private(path, json.dumps(content).encode())
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror or error}") from error
