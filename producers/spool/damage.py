"""Signs of damage in a spool file. SQLite has no checksums, so a flipped bit can mislead it without an error."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from producers.spool.record import FrameKey, SpooledFrame

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
PAGE_BYTES = 16384
#: Columns of a record, in the order of `SpooledFrame.of_row`.
RECORD = "started_at_us, sequence, about, value, checksum"
#: Size of a record. The column ``size_bytes`` is not covered by the checksum.
SIZE = "coalesce(length(CAST(about AS BLOB)) + length(value), 0)"
#: Codes of SQLite for a file that is itself damaged.
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

#: Fields of the header that are the same in every spool, as slices; the byte between the first two is the version of
#: the log. (SQLite, "Database File Format", 1.3.)
_SAME = ((slice(0, 18), b"SQLite format 3\0" + PAGE_BYTES.to_bytes(2, "big")), (slice(20, 24), b"\0\x40\x20\x20"),
         (slice(44, 48), b"\0\0\0\4"), (slice(56, 60), b"\0\0\0\1"))  # fmt: skip
_HEADER_BYTES = 100
#: Key before every other.
LOWEST_KEY: FrameKey = (-(2**63), -(2**63))
#: Counts above this one are damaged: no camera takes that number of frames.
_HIGHEST_COUNT = 2**48


class DamagedFile(sqlite3.DatabaseError):
    """Damage that SQLite does not see. It has the code that SQLite gives to damage."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class _SpoolConnection(sqlite3.Connection):
    """Connection for which a message of SQLite that is not UTF-8 is damage: it quotes a damaged definition."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        try:
            return super().execute(*arguments)
        except UnicodeDecodeError as error:
            raise DamagedFile("the definition of its tables was altered") from error

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        try:
            return super().executescript(script)
        except UnicodeDecodeError as error:
            raise DamagedFile("the definition of its tables was altered") from error


def code_of(error: sqlite3.Error) -> int:
    """Return the primary code of an error; 0 if it has none, as an error of Python's module."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def connect(path: str | Path, *, uri: bool = False) -> sqlite3.Connection:
    """Open a spool file. Texts are read as bytes: the checksum decides if they are whole."""
    db = sqlite3.connect(
        path, timeout=5, isolation_level=None, check_same_thread=False, uri=uri, factory=_SpoolConnection
    )
    db.text_factory = bytes
    return db


def has_spool_header(path: Path) -> bool:
    """Return True if the file has the header of a spool, or is empty."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        return True
    return {*header[18:20]} <= {1, 2} and all(header[place] == value for place, value in _SAME)


def check_schema(db: sqlite3.Connection) -> None:
    """Check that the tables are those of a spool.

    Raises
    ------
    DamagedFile
        If the definition of a table was altered.
    """
    stored = {_words(row[0]) for row in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    wanted = {_words(part.replace("IF NOT EXISTS ", "").encode()) for part in CREATE.strip().split(";") if part}
    if not wanted <= stored:
        raise DamagedFile("the definition of its tables was altered")


def keys_in_order(
    db: sqlite3.Connection, after: FrameKey = LOWEST_KEY, limit: int = -1
) -> Iterator[tuple[int, FrameKey]]:
    """Yield the place in the file and the key of each frame, by the index.

    Raises
    ------
    DamagedFile
        If the index is not in order.
    """
    for place, started_at_us, sequence in db.execute(
        "SELECT rowid, started_at_us, sequence FROM frames INDEXED BY frames_in_order"
        " WHERE (started_at_us, sequence) > (?, ?) ORDER BY started_at_us, sequence LIMIT ?",
        (*after, limit),
    ):
        key = (started_at_us, sequence)
        if not (isinstance(started_at_us, int) and isinstance(sequence, int) and key > after):
            raise DamagedFile("its index is not in order")
        yield place, key
        after = key


def frame_at(db: sqlite3.Connection, place: int, key: FrameKey) -> SpooledFrame | None:
    """Return the frame at a place; None if its checksum shows that it was altered.

    Raises
    ------
    DamagedFile
        If the index names another frame than the one at the place.
    """
    row = db.execute(f"SELECT {RECORD} FROM frames WHERE rowid = ?", (place,)).fetchone()
    frame = None if row is None else SpooledFrame.of_row(row)
    if row is None or (frame is not None and frame.key != key):
        raise DamagedFile("its index names another frame")
    return frame


def check_index(db: sqlite3.Connection) -> None:
    """Check that the index has as many entries as there are frames.

    Raises
    ------
    DamagedFile
        If their numbers differ.
    """
    count = "SELECT count(*) FROM frames"
    frames, entries = db.execute(f"SELECT ({count} NOT INDEXED), ({count} INDEXED BY frames_in_order)").fetchone()
    if frames != entries:
        raise DamagedFile(f"its index has {entries} entries for {frames} frames")


def is_count(value: object, lowest: int = 0) -> bool:
    """Return True if a stored number can be a count."""
    return isinstance(value, int) and lowest <= value <= _HIGHEST_COUNT


def _words(sql: bytes) -> bytes:
    return b" ".join(sql.split())
