"""Index of recorded decisions by the place of their frame, in a temporary file, so memory stays bounded."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from monitoring.quality.outcome import decision_rank, is_of_line
from schemas.clock import SystemClock, clamp_future, is_future
from schemas.codec import decode, encode
from schemas.errors import SettingsError
from schemas.records import Decision
from transport.stored_message import MessagePosition

#: Name that makes SQLite use a temporary file of its own, which is deleted on close.
TEMPORARY_FILE = ""
_CACHE_KIB = 16 * 1024

_INSERT = """
    INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (part, at) DO UPDATE SET
    captured = excluded.captured, rank1 = excluded.rank1, rank2 = excluded.rank2, rank3 = excluded.rank3,
    record = excluded.record
    WHERE (excluded.rank1, excluded.rank2, excluded.rank3) < (rank1, rank2, rank3)
"""


class DecisionIndex:
    """One decision for each message of one frames topic: the one that counts by `monitoring.quality.outcome`.

    Raises
    ------
    SettingsError
        If the temporary file cannot be written, as on a full disk.

    Examples
    --------
    >>> index = DecisionIndex("inspection.frames")
    >>> index.find(0, 7), len(index)
    (None, 0)
    """

    def __init__(self, topic: str, path: str = TEMPORARY_FILE) -> None:
        self._topic = topic
        self._now_us = SystemClock().utc_us()
        with _line():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.executescript(f"""
                PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{_CACHE_KIB};
                CREATE TABLE decisions (
                    part INTEGER, at INTEGER, captured INTEGER, rank1 INTEGER, rank2 INTEGER, rank3 INTEGER,
                    record BLOB, PRIMARY KEY (part, at)
                ) WITHOUT ROWID;
                BEGIN;
            """)

    def add(self, decision: Decision) -> None:
        """Add a decision, in any order. Idempotent."""
        if not is_of_line(decision) or decision.source_topic != self._topic:
            return
        values = (
            decision.source_partition,
            decision.source_offset,
            # Sorted by capture, a camera whose clock is ahead would always come first.
            clamp_future(decision.decided_at_us, self._now_us)
            if is_future(decision.captured_at_us, self._now_us)
            else decision.captured_at_us,
            *decision_rank(decision),
            encode(decision),
        )
        with _line():
            self._db.execute(_INSERT, values)

    def find(self, partition: int, offset: int) -> Decision | None:
        """Return the decision on a message; None if there is no decision."""
        query = "SELECT record FROM decisions WHERE part = ? AND at = ?"
        with _line():
            row = self._db.execute(query, (partition, offset)).fetchone()
        return None if row is None else decode(row[0], Decision)

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM decisions").fetchone()[0])

    def __iter__(self) -> Iterator[tuple[MessagePosition, Decision]]:
        """Yield all decisions, each partition in order."""
        yield from self._select("SELECT part, at, record FROM decisions ORDER BY part, at")

    def newest(self) -> Iterator[tuple[MessagePosition, Decision]]:
        """Yield all decisions, newest capture first."""
        yield from self._select("SELECT part, at, record FROM decisions ORDER BY captured DESC, part DESC, at DESC")

    def close(self) -> None:
        """Close and delete the temporary file."""
        self._db.close()

    def _select(self, query: str) -> Iterator[tuple[MessagePosition, Decision]]:
        for partition, offset, record in self._db.execute(query):
            yield MessagePosition(self._topic, partition, offset), decode(record, Decision)


@contextmanager
def _line() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise SettingsError(
            f"recorded decisions cannot be kept in a temporary file: {error}; TMPDIR names another directory for it"
        ) from error
