"""What is remembered of a started broker, so that another process can find and stop it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from schemas.private_files import read_private, replace_private


@dataclass(frozen=True, slots=True)
class BrokerState:
    """A started broker: its process (with its start time, since process ids are reused) and address."""

    pid: int
    created_at: float
    port: int
    version: str
    log: str

    def process(self) -> psutil.Process | None:
        """The process, None if it has ended or the id belongs to another by now."""
        try:
            process = psutil.Process(self.pid)
            alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
            return process if alive and abs(process.create_time() - self.created_at) < 2 else None
        except psutil.Error:
            return None


def read_state(path: Path) -> BrokerState | None:
    """The remembered state, None without one or with a file that is not one."""
    try:
        return BrokerState(**json.loads(read_private(path)))
    except (OSError, ValueError, TypeError):
        return None


def write_state(path: Path, state: BrokerState) -> None:
    """Remember, in one step."""
    replace_private(path, json.dumps(asdict(state)).encode(), sync=False)
