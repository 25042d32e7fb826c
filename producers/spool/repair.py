"""Repair of a damaged spool file: keep it aside, copy the records that can still be read, and count the others."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from producers.spool.damage import PAGE_BYTES, RECORD, check_schema, connect, has_spool_header, is_count
from producers.spool.record import SpooledFrame

#: Columns of the table ``starts``: counts of the frames of one start of the camera, by their outcome.
COUNTS = ("appended", "drained", "evicted", "refused", "damaged")
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
        # A count that is damaged may be NULL.
        f" SET {name} = coalesce({name}, 0) + excluded.{name},"
        " last_sequence = max(coalesce(last_sequence, -1), excluded.last_sequence)",
        (started_at_us, number, last_sequence),
    )


def insert(db: sqlite3.Connection, frame: SpooledFrame, otherwise: str = "") -> bool:
    """Insert a frame; return False if it was not taken. ``otherwise`` is the clause for a conflict."""
    done = db.execute(
        f"INSERT {otherwise} INTO frames (started_at_us, sequence, size_bytes, about, checksum, value)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (*frame.key, frame.size_bytes, frame.about, frame.checksum, frame.value),
    )
    return done.rowcount > 0


def put_back(aside: Path, path: Path) -> None:
    """Undo `move_aside`; a file that has taken the place of the spool is deleted."""
    for suffix in ("", "-wal", "-shm"):
        part = aside.with_name(aside.name + suffix)
        path.with_name(path.name + suffix).unlink(missing_ok=True)
        if part.exists():
            part.rename(path.with_name(path.name + suffix))


def rescue(damaged: Path, target: sqlite3.Connection) -> tuple[int, int | None]:
    """Copy every whole record, and the counts; return the number of copied records, and that of lost records.

    A record that the counts include and that is missing is counted as damaged. If the counts cannot be read, None
    replaces the second number.
    """
    first_page = target.serialize()[:PAGE_BYTES]
    with _padded(damaged), _with_first_page(damaged, first_page), closing(connect(damaged)) as source:
        rescued = sum(_copy(target, frame) for frame in _frames(source))
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


@contextmanager
def _with_first_page(damaged: Path, new: bytes) -> Iterator[None]:
    """Replace a damaged first page with that of a new spool while the file is read.

    The page has the header and the definitions of the tables. They are the same in every spool, apart from numbers that
    a reader does not need.
    """
    if _has_readable_tables(damaged):
        yield
        return
    with damaged.open("r+b") as file:
        old = file.read(PAGE_BYTES)
        pages = os.fstat(file.fileno()).st_size // PAGE_BYTES
        # Version 2: with a log. No free pages.
        new = new[:18] + b"\2\2" + new[20:28] + pages.to_bytes(4, "big") + bytes(8) + new[40:]
        file.seek(0)
        file.write(new[: len(old)])
    try:
        yield
    finally:
        with damaged.open("r+b") as file:
            file.write(old)


def _has_readable_tables(damaged: Path) -> bool:
    if not has_spool_header(damaged):
        return False
    try:
        with closing(connect(damaged)) as db:
            check_schema(db)
            db.execute("SELECT 1 FROM frames NOT INDEXED LIMIT 1").fetchone()
    except sqlite3.DatabaseError:
        return False
    return True


def _frames(source: sqlite3.Connection) -> Iterator[SpooledFrame]:
    """Yield the whole records; some of them more than once."""
    for order in ("ASC", "DESC"):
        # In the order of the pages, because the index may be damaged, and so may a place, by which one searches.
        query = f"SELECT {RECORD} FROM frames NOT INDEXED ORDER BY rowid {order}"
        read = 0
        try:
            for row in source.execute(query):
                read += 1
                yield from _whole(row)
        except sqlite3.DatabaseError:
            # Python's module reads a row ahead, so the error has also taken the whole row before it.
            with suppress(sqlite3.DatabaseError):
                yield from _whole(source.execute(f"{query} LIMIT 1 OFFSET ?", (read,)).fetchone())
        else:
            return
    yield from _frames_by_place(source)


def _frames_by_place(source: sqlite3.Connection) -> Iterator[SpooledFrame]:
    place = 0
    unreadable = 0
    while unreadable < _TRIES:
        place += 1
        try:
            row = source.execute(f"SELECT {RECORD} FROM frames WHERE rowid = ?", (place,)).fetchone()
        except sqlite3.DatabaseError:
            row = None
        if row is None:
            unreadable += 1
            if unreadable == 1:
                place = _skip_gap(source, place)
            continue
        unreadable = 0
        yield from _whole(row)


def _whole(row: tuple[object, ...] | None) -> tuple[SpooledFrame, ...]:
    frame = None if row is None else SpooledFrame.of_row(row)
    return () if frame is None else (frame,)


def _copy(target: sqlite3.Connection, frame: SpooledFrame) -> bool:
    return insert(target, frame, "OR IGNORE")


def _carry_counts(source: sqlite3.Connection, target: sqlite3.Connection) -> int | None:
    are_known = True
    try:
        rows = source.execute(f"SELECT started_at_us, {', '.join(COUNTS)}, last_sequence FROM starts").fetchall()
    except sqlite3.DatabaseError:
        rows, are_known = [], False
    whole = [row for row in rows if isinstance(row[0], int) and all(map(is_count, row[1:-1])) and is_count(row[-1], -1)]
    are_known = are_known and len(whole) == len(rows)
    rows = whole
    known_damaged = sum(row[1 + COUNTS.index("damaged")] for row in rows)
    target.executemany(f"INSERT OR IGNORE INTO starts VALUES ({', '.join('?' * (len(COUNTS) + 2))})", rows)
    waiting = "SELECT started_at_us, count(*), max(sequence) FROM frames GROUP BY started_at_us"
    for started_at_us, frames, last_sequence in target.execute(waiting).fetchall():
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


def _skip_gap(source: sqlite3.Connection, place: int) -> int:
    """Return the place before the next existing record: drained records leave long gaps."""
    try:
        (following,) = source.execute("SELECT min(rowid) FROM frames WHERE rowid > ?", (place,)).fetchone()
    except sqlite3.DatabaseError:
        return place
    return place if following is None else following - 1
