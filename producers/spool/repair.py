"""A damaged spool file: keep it aside, and carry over what can still be read."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

#: Tables of a spool.
CREATE = """
CREATE TABLE IF NOT EXISTS frames (
    id INTEGER PRIMARY KEY, started_at_us INTEGER NOT NULL, sequence INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    about TEXT NOT NULL, checksum BLOB NOT NULL, value BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS frames_in_order ON frames (started_at_us, sequence);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counts VALUES ('appended', 0), ('drained', 0), ('dropped', 0), ('damaged', 0);
"""

COLUMNS = "started_at_us, sequence, size_bytes, about, checksum, value"
#: Ids tried after the last one that could be read, before the rest is given up.
_TRIES = 1_000


def move_aside(path: Path) -> Path:
    """Rename a spool and its log, so that a new one can take its place; return the new name."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def rescue(damaged: Path, target: sqlite3.Connection) -> int:
    """Copy every record that can be read; return their number. Checksums are looked at when they are sent."""
    rescued = 0
    with closing(sqlite3.connect(damaged)) as source:
        number = 0
        unreadable = 0
        while unreadable < _TRIES:
            number += 1
            try:
                # By primary key: the index and its order may be what is damaged.
                row = source.execute(f"SELECT {COLUMNS} FROM frames WHERE id = ?", (number,)).fetchone()
            except sqlite3.DatabaseError:
                row = None
            if row is None:
                unreadable += 1
                if unreadable == 1:
                    number = _skip_gap(source, number)
                continue
            unreadable = 0
            try:
                target.execute(f"INSERT OR IGNORE INTO frames ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                continue
            rescued += 1
    target.execute("UPDATE counts SET value = value + ? WHERE name = 'appended'", (rescued,))
    return rescued


def _skip_gap(source: sqlite3.Connection, number: int) -> int:
    """The id before the next record that is there: drained ones leave long gaps."""
    try:
        (following,) = source.execute("SELECT min(id) FROM frames WHERE id > ?", (number,)).fetchone()
    except sqlite3.DatabaseError:
        return number
    return number if following is None else following - 1
