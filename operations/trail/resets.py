"""Copy of a gate's resets to the audit log. A gate works without Kafka: it keeps them in a file of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actuators.fault_store import TRAIL_FILE
from operations.trail.record import Act, Deed, make_event
from schemas.clock import SystemClock
from schemas.errors import SettingsError
from schemas.private_files import read_private, replace_private
from schemas.records import AuditOutcome
from schemas.settings import KafkaSettings
from transport.audit_log import append_event

#: File beside the trail: number and SHA-256 of its last line that is in the audit log.
_COPIED_FILE = "gate.trail.copied"


def copy_resets(kafka: KafkaSettings, state_dir: Path) -> int:
    """Append the resets of a gate that are not in the audit log yet; return their number.

    Each has the principal of this client configuration, and the user of the operating system that asked for it. A
    reset that is copied twice, after a crash in between, has one id. If the last line that was copied is not in the
    file, because the file was rotated or cut, all lines are copied.

    Raises
    ------
    SettingsError
        If the files cannot be read or written.
    BrokerUnavailable, NotAuthorised, TopicMissing
        If the audit log cannot be written.
    """
    marker = state_dir / _COPIED_FILE
    try:
        lines = read_private(state_dir / TRAIL_FILE).splitlines()
        done = _copied(read_private(marker), lines) if marker.exists() else 0
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise SettingsError(f"{state_dir}: {error.strerror or error}") from error
    copied = 0
    for number, line in enumerate(lines[done:], done + 1):
        deed = _deed(line, state_dir)
        if deed is not None:
            event_id = _sha256(line)[:32]
            uid = _uid(line)
            append_event(kafka, make_event(kafka, deed, AuditOutcome.DONE, SystemClock(), event_id=event_id, uid=uid))
            copied += 1
        try:
            replace_private(marker, f"{number} {_sha256(line)}".encode())
        except OSError as error:
            raise SettingsError(f"cannot write {marker}: {error.strerror or error}") from error
    return copied


def _copied(marker: bytes, lines: Sequence[bytes]) -> int:
    """Return the number of the last line that was copied; 0 if it cannot be told."""
    number, _, digest = marker.decode(errors="replace").partition(" ")
    if digest:
        return next((at for at in range(len(lines), 0, -1) if _sha256(lines[at - 1]) == digest), 0)
    # An earlier version wrote the number alone.
    return int(number) if number.isdecimal() and int(number) <= len(lines) else 0


def _sha256(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _deed(line: bytes, state_dir: Path) -> Deed | None:
    """Return what a line says; None for a line that a full disk has cut."""
    found = _fields(line)
    if found.get("act") != Act.GATE_RESET.value:
        return None
    return Deed(
        Act.GATE_RESET,
        f"fault {found.get('fault_id')} of {state_dir}",
        before=str(found.get("reason", "")),
        after="RUNNING",
        stated_by=str(found.get("who", "")),
        note=str(found.get("note", "")),
    )


def _uid(line: bytes) -> int:
    uid = _fields(line).get("uid")
    return uid if isinstance(uid, int) and -1 <= uid < 2**32 else -1


def _fields(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
