"""Reader of a spool that does not change it, also while a publisher writes it."""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from producers.spool.damage import LOWEST_KEY, SIZE, check_index, code_of, connect, frame_at, is_count, keys_in_order
from producers.spool.errors import SpoolUnwritable
from producers.spool.record import FrameKey, SpooledFrame
from producers.spool.repair import COUNTS

#: Number of tries, and pause between them in seconds, while the file cannot be opened.
_TRIES = 10
_RETRY_S = 0.05
#: Number of frames that are read in one step.
_STEP = 16


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """Frames in a spool, and counts of frames since it was made. The counts survive restarts.

    ``dropped`` counts all frames that were dropped for lack of room: ``refused`` of them never were in the spool, the
    others were evicted from it. ``appended + refused == frames + drained + dropped + damaged``.
    """

    frames: int
    bytes: int
    appended: int
    drained: int
    dropped: int
    refused: int
    damaged: int


@dataclass(frozen=True, slots=True)
class SpooledStart:
    """Counts of a spool for one start of its camera.

    ``lost`` is the number of frames that were dropped or damaged. ``waiting_sequences`` are the sequence numbers on
    disk now. ``last_sequence`` is the highest sequence number that the spool has seen.
    """

    started_at_us: int
    lost: int
    last_sequence: int
    waiting_sequences: frozenset[int]


@dataclass(frozen=True, slots=True)
class Verified:
    """Number of records read, and the keys (start of the camera, sequence) of the records with a wrong checksum."""

    frames: int
    damaged: tuple[FrameKey, ...]


def read_counts(path: Path) -> SpoolCounts:
    """Read the counts of a spool.

    Raises
    ------
    SpoolUnwritable
        If the file cannot be read as a spool.
    """
    with _reading(path) as db:
        return counts_of(db)


def counts_of(db: sqlite3.Connection) -> SpoolCounts:
    """Return the counts of an open spool."""
    frames, size_bytes = db.execute(f"SELECT count(*), coalesce(sum({SIZE}), 0) FROM frames NOT INDEXED").fetchone()
    sums = [0] * len(COUNTS)
    if _has_counts(db):
        for row in db.execute(f"SELECT {', '.join(COUNTS)} FROM starts"):
            sums = [total + _count(value) for total, value in zip(sums, row, strict=True)]
    appended, drained, evicted, refused, damaged = sums
    return SpoolCounts(int(frames), int(size_bytes), appended, drained, evicted + refused, refused, damaged)


def read_starts(path: Path) -> tuple[SpooledStart, ...]:
    """Read the counts of a spool for each start of its camera, oldest first.

    Raises
    ------
    SpoolUnwritable
        If the file cannot be read as a spool.
    """
    waiting_sequences: dict[int, set[int]] = defaultdict(set)
    counted: dict[int, tuple[int, int]] = {}
    with _reading(path) as db:
        # In one transaction, so that each frame is in one of the two results.
        db.execute("BEGIN")
        for _, (started_at_us, sequence) in keys_in_order(db):
            waiting_sequences[started_at_us].add(sequence)
        if _has_counts(db):
            rows = db.execute("SELECT started_at_us, evicted, refused, damaged, last_sequence FROM starts")
            counted = {
                row[0]: (sum(map(_count, row[1:-1])), _count(row[-1], -1)) for row in rows if isinstance(row[0], int)
            }
        db.execute("COMMIT")
    starts = []
    for started_at_us in sorted({*waiting_sequences, *counted}):
        lost, last = counted.get(started_at_us, (0, -1))
        sequences = frozenset(waiting_sequences[started_at_us])
        starts.append(SpooledStart(started_at_us, lost, max(last, *sequences, -1), sequences))
    return tuple(starts)


def _count(value: object, lowest: int = 0) -> int:
    """Return a stored count; the lowest one if it is damaged, because the counts have no checksum."""
    return value if isinstance(value, int) and is_count(value, lowest) else lowest


def _has_counts(db: sqlite3.Connection) -> bool:
    """Return False for a file of an older version that no camera has opened since."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'starts'").fetchone() is not None


def waiting_hours(path: Path) -> set[int]:
    """Return the hours (since 1970, UTC) in which the frames of a spool were captured.

    Raises
    ------
    SpoolUnwritable
        If the file cannot be read as a spool.
    """
    with _reading(path) as db:
        rows = db.execute(
            "SELECT DISTINCT json_extract(about, '$.captured_at_us') / 3600000000 FROM frames WHERE json_valid(about)"
        ).fetchall()
    return {hour for (hour,) in rows if isinstance(hour, int)}


def verify_spool(path: Path, on_frame: Callable[[], object] = lambda: None) -> Verified:
    """Read every record and check its checksum.

    Raises
    ------
    SpoolUnwritable
        If the file cannot be read as a spool.
    """
    frames = 0
    damaged: list[FrameKey] = []
    with _reading(path) as db:
        for number, (key, frame) in enumerate(_all(db), 1):
            frames = number
            if frame is None:
                damaged.append(key)
            on_frame()
    return Verified(frames, tuple(damaged))


def _all(db: sqlite3.Connection) -> Iterator[tuple[FrameKey, SpooledFrame | None]]:
    after = LOWEST_KEY
    # In small steps, because one long read would keep SQLite from emptying the writer's log.
    while True:
        db.execute("BEGIN")
        found = [(key, frame_at(db, place, key)) for place, key in keys_in_order(db, after, _STEP)]
        db.execute("COMMIT")
        if not found:
            break
        yield from found
        after = found[-1][0]
    check_index(db)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(_connect(path)) as db:
            yield db
    except sqlite3.Error as error:
        raise SpoolUnwritable(f"the spool {path} cannot be read: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    # A camera that is starting may have made the file, but not yet the log that a reader needs.
    for _ in range(_TRIES):
        db = connect(f"file:{path}?mode=ro", uri=True)
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            db.close()
            if code_of(error) != sqlite3.SQLITE_CANTOPEN or not path.exists():
                raise
            failed = error
            time.sleep(_RETRY_S)
        else:
            return db
    raise failed
