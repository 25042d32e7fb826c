"""Repair of a damaged spool file: keep it aside, copy the records that can still be read, and count the others."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

#: Tables of a spool.
CREATE = """
CREATE TABLE IF NOT EXISTS frames (
    id INTEGER PRIMARY KEY, started_at_us INTEGER NOT NULL, sequence INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    about TEXT NOT NULL, checksum BLOB NOT NULL, value BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS frames_in_order ON frames (started_at_us, sequence);
CREATE TABLE IF NOT EXISTS starts (
    started_at_us INTEGER PRIMARY KEY, appended INTEGER NOT NULL DEFAULT 0, drained INTEGER NOT NULL DEFAULT 0,
    evicted INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0, damaged INTEGER NOT NULL DEFAULT 0,
    last_sequence INTEGER NOT NULL DEFAULT -1);
"""

#: Columns of the table ``starts``: counts of the frames of one start of the camera, by their outcome.
COUNTS = ("appended", "drained", "evicted", "refused", "damaged")
COLUMNS = "started_at_us, sequence, size_bytes, about, checksum, value"
#: Number of ids to try after the last readable record; the records behind them are given up.
_TRIES = 1_000
#: Largest size that a header may state, in bytes; a header that states more is itself damaged.
_LARGEST_BYTES = 1024**4


def move_aside(path: Path) -> Path:
    """Rename a spool and its log, so that a new spool can take its place; return the new path of the old spool."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def count(db: sqlite3.Connection, name: str, started_at_us: int, number: int, last_sequence: int = -1) -> None:
    """Count frames of one start of the camera; ``name`` is a column of the table ``starts``."""
    db.execute(
        f"INSERT INTO starts (started_at_us, {name}, last_sequence) VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
        f" SET {name} = {name} + excluded.{name}, last_sequence = max(last_sequence, excluded.last_sequence)",
        (started_at_us, number, last_sequence),
    )


def rescue(damaged: Path, target: sqlite3.Connection) -> tuple[int, int | None]:
    """Copy every readable record, and the counts; return the number of copied records, and that of lost records.

    The checksums of the records are checked later, when the records are sent. A record that the counts include and that
    is missing is counted as damaged. If the counts cannot be read, None replaces the second number.
    """
    with _padded(damaged), closing(sqlite3.connect(damaged)) as source:
        rescued = sum(_copy(target, row) for row in _rows(source))
        lost = _carry_counts(source, target)
    return rescued, lost


@contextmanager
def _padded(damaged: Path) -> Iterator[None]:
    """Extend a file that was cut short with zeros, to the size that its header states, while it is read.

    SQLite refuses every page of a file that is shorter than its header states. The zeros take no room on the disk.
    (SQLite, "Database File Format", 1.3: page size at byte 16, pages at byte 28.)
    """
    with damaged.open("rb") as file:
        header = file.read(100)
    size_bytes = damaged.stat().st_size
    page_bytes = int.from_bytes(header[16:18], "big")
    stated_bytes = int.from_bytes(header[28:32], "big") * (65_536 if page_bytes == 1 else page_bytes)
    is_short = header.startswith(b"SQLite format 3\0") and size_bytes < stated_bytes <= _LARGEST_BYTES
    if is_short:
        os.truncate(damaged, stated_bytes)
    try:
        yield
    finally:
        if is_short:
            os.truncate(damaged, size_bytes)


def _rows(source: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
    number = 0
    unreadable = 0
    while unreadable < _TRIES:
        number += 1
        try:
            # By primary key, because the index and its order may be damaged.
            row = source.execute(f"SELECT {COLUMNS} FROM frames WHERE id = ?", (number,)).fetchone()
        except sqlite3.DatabaseError:
            row = None
        if row is None:
            unreadable += 1
            if unreadable == 1:
                number = _skip_gap(source, number)
            continue
        unreadable = 0
        yield row


def _copy(target: sqlite3.Connection, row: tuple[object, ...]) -> bool:
    try:
        done = target.execute(f"INSERT OR IGNORE INTO frames ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)
    except sqlite3.IntegrityError:
        return False
    return done.rowcount > 0


def _carry_counts(source: sqlite3.Connection, target: sqlite3.Connection) -> int | None:
    are_known = True
    try:
        rows = source.execute(f"SELECT started_at_us, {', '.join(COUNTS)}, last_sequence FROM starts").fetchall()
    except sqlite3.DatabaseError:
        rows, are_known = [], False
    known_damaged = sum(row[1 + COUNTS.index("damaged")] for row in rows)
    target.executemany(f"INSERT OR IGNORE INTO starts VALUES ({', '.join('?' * (len(COUNTS) + 2))})", rows)
    held = "SELECT started_at_us, count(*), max(sequence) FROM frames GROUP BY started_at_us"
    for started_at_us, frames, last_sequence in target.execute(held).fetchall():
        count(target, "appended", started_at_us, 0, last_sequence)
        target.execute(
            "UPDATE starts SET appended = max(appended, ? + drained + evicted + damaged) WHERE started_at_us = ?",
            (frames, started_at_us),
        )
    target.execute(
        "UPDATE starts SET damaged = appended - drained - evicted -"
        " (SELECT count(*) FROM frames WHERE frames.started_at_us = starts.started_at_us)"
    )
    if not are_known:
        return None
    damaged = int(target.execute("SELECT coalesce(sum(damaged), 0) FROM starts").fetchone()[0])
    return damaged - int(known_damaged)


def _skip_gap(source: sqlite3.Connection, number: int) -> int:
    """Return the id before the next existing record: drained records leave long gaps."""
    try:
        (following,) = source.execute("SELECT min(id) FROM frames WHERE id > ?", (number,)).fetchone()
    except sqlite3.DatabaseError:
        return number
    return number if following is None else following - 1
