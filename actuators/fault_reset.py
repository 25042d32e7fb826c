"""A person's view of FAULT: state of a gate, and its reset, from another process and without a network."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actuators.errors import GateError
from actuators.fault import Fault
from actuators.fault_store import FaultStore, Reset, StateInUse
from schemas.clock import Clock, SystemClock
from schemas.errors import SettingsError

_POLL_S = 0.05
#: If somebody has corrupted the file, a running gate repairs it; it gets this long, in seconds.
_REPAIR_S = 1.0


@dataclass(frozen=True, slots=True)
class FaultStatus:
    """State of a gate, read from its state directory."""

    fault: Fault | None
    last_reset: Reset | None
    is_gate_running: bool

    def as_dict(self) -> dict[str, Any]:
        """Return one object for ``json.dumps``."""
        return {"state": "RUNNING" if self.fault is None else "FAULT", **dataclasses.asdict(self)}


def standing(state_dir: Path, clock: Clock | None = None) -> FaultStatus:
    """Read the state of the gate that uses a state directory.

    Raises
    ------
    SettingsError
        If no gate has used the directory.
    """
    if not (state_dir / "gate.lock").exists():
        raise SettingsError(f"no gate has kept its state in {state_dir}")
    store = FaultStore(state_dir)
    is_gate_running = not _take(store)
    store.close()
    stored = store.load((clock or SystemClock()).utc_us())
    return FaultStatus(stored.fault, stored.last_reset, is_gate_running)


def reset_fault(
    state_dir: Path, who: str, note: str, *, timeout_s: float = 5.0, clock: Clock | None = None
) -> FaultStatus:
    """End the fault of a gate, running or not, and return its state afterwards.

    Raises
    ------
    SettingsError
        If there is no fault, no gate has used the directory, it cannot be written, or name or note is empty.
    GateError
        If the running gate does not take the reset in time; the FAULT stays.
    """
    clock = clock or SystemClock()
    Reset("", who, note, 0)
    standing(state_dir, clock)
    store = FaultStore(state_dir)
    began_s = clock.monotonic_s()
    until_s = began_s + timeout_s
    asked: Fault | None = None
    while clock.monotonic_s() < until_s:
        if _take(store):
            # 1. No other process locks the directory: the gate does not run, and only the file has to change.
            try:
                _reset_on_file(store, who, note, asked, clock)
            finally:
                store.close()
            return standing(state_dir, clock)
        # 2. The gate runs: the request names the fault, and the gate's file shows when the reset is done.
        stored = store.load(clock.utc_us())
        if asked is not None and stored.is_readable and (stored.fault is None or stored.fault != asked):
            return standing(state_dir, clock)
        if asked is None and stored.is_readable:
            if stored.fault is None:
                raise SettingsError(f"the gate of {state_dir} is not in FAULT")
            asked = stored.fault
            store.request(Reset(asked.fault_id, who, note, clock.utc_us()))
        elif asked is None and clock.monotonic_s() - began_s > _REPAIR_S:
            break
        time.sleep(_POLL_S)
    raise GateError(f"the gate of {state_dir} did not take the reset within {timeout_s:g} s; the FAULT stays")


def _reset_on_file(store: FaultStore, who: str, note: str, asked: Fault | None, clock: Clock) -> None:
    stored = store.load(clock.utc_us())
    if stored.fault is None:
        if asked is None:
            raise SettingsError(f"the gate of {store.state_dir} is not in FAULT")
        return  # the gate took the reset and ended
    if asked is not None and stored.fault != asked:
        return  # the gate took the reset, and went into another fault, which nobody has looked at
    store.end(stored.fault, Reset(stored.fault.fault_id, who, note, clock.utc_us(), os.getuid()))


def _take(store: FaultStore) -> bool:
    try:
        store.open(patience_s=0.0)
    except StateInUse:
        return False
    return True
