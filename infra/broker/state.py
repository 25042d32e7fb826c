"""State file of a started broker, by which another process can find and stop it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from schemas.private_files import read_private, replace_private


@dataclass(frozen=True, slots=True)
class BrokerState:
    """Started broker: its process and its address. The start time tells it from a later process with the same id."""

    pid: int
    created_at: float
    port: int
    version: str
    log: str

    def process(self) -> psutil.Process | None:
        """Return the process, or None if it has ended or its id now belongs to another process."""
        try:
            process = psutil.Process(self.pid)
            alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
            return process if alive and abs(process.create_time() - self.created_at) < 2 else None
        except psutil.Error:
            return None


def read_state(path: Path) -> BrokerState | None:
    """Return the stored state, or None if there is no file or the file has no valid state."""
    try:
        found = BrokerState(**json.loads(read_private(path)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    is_whole = (
        type(found.pid) is int
        and 0 < found.pid < 2**31
        and type(found.created_at) in (int, float)
        and 0 <= found.created_at < 2**40
        and type(found.port) is int
        and 0 <= found.port <= 65535
        and isinstance(found.version, str)
        and isinstance(found.log, str)
    )
    return found if is_whole else None


def write_state(path: Path, state: BrokerState) -> None:
    """Write the state in one step."""
    replace_private(path, json.dumps(asdict(state)).encode(), sync=False)
