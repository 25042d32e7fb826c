"""The file of one spool: SQLite in WAL mode, a checksum a record, bounded by bytes.

What makes it safe: SQLite's log makes an append whole or absent, and ignores a torn tail; the record's
checksum finds what the disk has altered since. (SQLite, "Write-Ahead Logging", sqlite.org/wal.html.)
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeVar

from producers.spool.errors import SpoolFull, SpoolUnwritable
from producers.spool.files import SpoolLock
from producers.spool.look import SpoolCounts, counts_of, frame_of
from producers.spool.options import SpoolOptions
from producers.spool.record import FrameKey, SpooledFrame
from producers.spool.repair import COLUMNS, CREATE, count, move_aside, rescue
from producers.spool.reserve import Reserve

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Codes by which SQLite says that the file itself is damaged.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
#: Codes by which it says that the disk has no room.
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
#: SQLite empties its log into the file when it has so many pages. The reserve is twice as much: on a full disk the log
#: can grow by as much again before an append fails.
_LOG_PAGES = 32
_PAGE_BYTES = 16384
_RESERVE_BYTES = 2 * _LOG_PAGES * _PAGE_BYTES
#: On a full disk, free pages of the file go back to it in so many steps of `_LOG_PAGES`.
_VACUUM_STEPS = 32
#: A file this much larger than what it holds is shrunk once it is empty.
_SHRINK_BYTES = 16 * 1024 * 1024


class Spool:
    """Frames of one camera on disk, in the order of capture. Safe to use from several threads.

    Parameters
    ----------
    path
        The file, see `producers.spool.spool_path`.
    options
        Bound, policy, fsync.

    Raises
    ------
    SpoolInUse
        If another process writes it.
    SpoolUnwritable
        If the disk does not take it.

    Examples
    --------
    >>> import tempfile
    >>> spool = Spool(Path(tempfile.mkdtemp()) / "press.top.spool", SpoolOptions())
    >>> spool.append(SpooledFrame(1, 0, "{}", b"frame"))
    ()
    >>> [frame.value for frame in spool.oldest(10)]
    [b'frame']
    >>> spool.delete([(1, 0)], drained=True)
    >>> spool.counts.frames, spool.counts.drained
    (0, 1)
    >>> spool.close()
    """

    def __init__(self, path: Path, options: SpoolOptions) -> None:
        self.path = path
        self._options = options
        self._lock = threading.RLock()
        self._owned = SpoolLock(path)
        self._reserve = Reserve(path.with_suffix(".reserve"))
        self._reserve_bytes = _RESERVE_BYTES
        self.frames = self.bytes = self._losses = 0
        #: Of each start, frames refused and the highest of their sequences, until the disk takes these counts.
        self._refused: dict[int, tuple[int, int]] = {}
        try:
            try:
                self._open()
            except SpoolUnwritable:
                self._reserve.release()
                self._open()
            self._guard(self._load)
            self._reserve.take(self._reserve_bytes)
        except BaseException:
            self._owned.release()
            raise

    def append(self, frame: SpooledFrame, *, keep: Collection[FrameKey] = ()) -> tuple[FrameKey, ...]:
        """Put a frame on disk; return the keys of those that gave way. A frame that is there already stays.

        Parameters
        ----------
        keep
            Frames that must not give way: they are on their way to Kafka.

        Raises
        ------
        SpoolFull
            If it has no room; whoever gives the frame up says so with `refuse`.
        SpoolUnwritable
            If the disk does not take it.
        """
        with self._lock:
            # The log holds a frame before the file does: the largest one must still find room there.
            self._reserve_bytes = max(self._reserve_bytes, _RESERVE_BYTES + 2 * frame.size_bytes)
            if not self._reserve.take(self._reserve_bytes):
                self._relieve(take=True)
                if self._reserve.size_bytes < self._reserve_bytes:
                    raise SpoolUnwritable(f"the spool {self.path} is not writable: its disk is full")
            return self._guard(lambda: self._append(frame, keep), writes=True)

    def refuse(self, key: FrameKey) -> None:
        """Count a frame that is given up and is not here. A disk that does not take it gets it with the next change."""
        with self._lock:
            number, last = self._refused.get(key[0], (0, -1))
            self._refused[key[0]] = (number + 1, max(last, key[1]))
            try:
                self._guard(lambda: None, writes=True)
            except SpoolUnwritable:
                log.debug("%s keeps a count in memory", self.path, exc_info=True)

    def oldest(self, limit: int, *, skip: Collection[FrameKey] = ()) -> list[SpooledFrame]:
        """The first frames in the order of capture; damaged ones are taken out, counted and logged."""
        return self._guard(lambda: self._oldest(limit, skip))

    def delete(self, keys: Iterable[FrameKey], *, drained: bool) -> None:
        """Take frames out: Kafka has acknowledged them (``drained``), or they are given up.

        Raises
        ------
        SpoolUnwritable
            If the disk does not take the change; the frames stay and may be sent twice.
        """
        wanted = list(keys)
        if wanted:
            self._guard(lambda: self._delete(wanted, "drained" if drained else "evicted"), writes=True, frees=True)
            self._shrink()

    def count_of(self, started_at_us: int) -> int:
        """How many frames of one start of the camera it holds."""
        return self._guard(
            lambda: int(
                self._db.execute("SELECT count(*) FROM frames WHERE started_at_us = ?", (started_at_us,)).fetchone()[0]
            )
        )

    def take_losses(self) -> int:
        """Frames found damaged since it was last asked."""
        with self._lock:
            losses, self._losses = self._losses, 0
            return losses

    @property
    def counts(self) -> SpoolCounts:
        """What it holds and has seen."""
        return self._guard(lambda: counts_of(self._db))

    def close(self) -> None:
        """Close the file; what it holds stays."""
        with self._lock:
            try:
                if self._refused:
                    self._guard(lambda: None, writes=True)
            except SpoolUnwritable as error:
                log.error("%s; not in its counts: %d dropped frames", error, sum(n for n, _ in self._refused.values()))
            finally:
                self._db.close()
                self._owned.release()

    def _open(self) -> None:
        self._db = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            self._db.executescript(
                f"""PRAGMA page_size = {_PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
                PRAGMA synchronous = {self._options.sync.upper()}; PRAGMA journal_size_limit = 8388608;
                PRAGMA wal_autocheckpoint = {_LOG_PAGES}; {CREATE}"""
            )
        except sqlite3.DatabaseError as error:
            self._db.close()
            if error.sqlite_errorcode & 0xFF in _DAMAGED:
                self._repair()
            else:
                raise SpoolUnwritable(f"the spool {self.path} cannot be opened: {error}") from error

    def _guard(self, work: Callable[[], T], *, writes: bool = False, frees: bool = False) -> T:
        """Run a step whole or not at all; once a damaged file is repaired, or a full disk relieved, try it once more.

        A step that ``frees`` may use the reserve, one that only ``writes`` may use what is left beside it.
        """
        with self._lock:
            tried: set[str] = set()
            while True:
                before = self.frames, self.bytes
                try:
                    self._db.execute("BEGIN IMMEDIATE")
                    result = work()
                    if writes:
                        self._write_refused()
                    self._db.execute("COMMIT")
                except sqlite3.DatabaseError as error:
                    self._rollback(before)
                    code = error.sqlite_errorcode & 0xFF
                    if code in _DAMAGED and "repair" not in tried:
                        tried.add("repair")
                        self._db.close()
                        self._repair()
                    elif code in _FULL and writes and "relieve" not in tried:
                        tried.add("relieve")
                        self._relieve(take=not frees)
                    else:
                        if code in _FULL and writes:
                            self._relieve(take=True)
                        raise SpoolUnwritable(f"the spool {self.path} is not writable: {error}") from error
                except BaseException:
                    self._rollback(before)
                    raise
                else:
                    if "relieve" in tried:
                        self._relieve(take=True)
                    if writes:
                        self._refused.clear()
                    return result

    def _relieve(self, *, take: bool) -> None:
        """Empty SQLite's log with the room of the reserve, and give the file's free pages back to the disk.

        Then take the reserve again, or leave it to the step that frees.
        """
        self._reserve.release()
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            for _ in range(_VACUUM_STEPS):
                if not self._db.execute("PRAGMA freelist_count").fetchone()[0]:
                    break
                self._db.executescript(f"PRAGMA incremental_vacuum({_LOG_PAGES}); PRAGMA wal_checkpoint(TRUNCATE);")
        except sqlite3.Error:
            log.debug("the log of %s cannot be emptied", self.path, exc_info=True)
        if take:
            self._reserve.take(self._reserve_bytes)

    def _rollback(self, before: tuple[int, int]) -> None:
        self.frames, self.bytes = before
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            log.debug("rollback of %s", self.path, exc_info=True)

    def _repair(self) -> None:
        before = self.frames
        aside = move_aside(self.path)
        self._open()
        rescued = rescue(aside, self._db)
        self._load()
        self._losses += max(1, before - rescued)
        log.error("the spool %s was damaged: %d frames rescued, the file is kept as %s", self.path, rescued, aside.name)

    def _load(self) -> None:
        row = self._db.execute("SELECT count(*), coalesce(sum(size_bytes), 0) FROM frames").fetchone()
        self.frames, self.bytes = int(row[0]), int(row[1])

    def _append(self, frame: SpooledFrame, keep: Collection[FrameKey]) -> tuple[FrameKey, ...]:
        known = self._db.execute(
            "SELECT 1 FROM frames WHERE started_at_us = ? AND sequence = ?", frame.key
        ).fetchone()  # fmt: skip
        if known:
            return ()
        evicted = self._make_room(frame.size_bytes, keep)
        self._db.execute(
            f"INSERT INTO frames ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
            (*frame.key, frame.size_bytes, frame.about, frame.checksum, frame.value),
        )
        count(self._db, "appended", frame.started_at_us, 1, frame.sequence)
        self.frames += 1
        self.bytes += frame.size_bytes
        return evicted

    def _make_room(self, size_bytes: int, keep: Collection[FrameKey]) -> tuple[FrameKey, ...]:
        over = self.bytes + size_bytes - self._options.max_bytes
        if over <= 0:
            return ()
        evicted: list[FrameKey] = []
        if self._options.when_full == "drop-oldest" and size_bytes <= self._options.max_bytes:
            for started_at_us, sequence, size in self._db.execute(
                "SELECT started_at_us, sequence, size_bytes FROM frames ORDER BY started_at_us, sequence"
            ):
                if over <= 0:
                    break
                if (started_at_us, sequence) not in keep:
                    evicted.append((started_at_us, sequence))
                    over -= size
        if over > 0:
            raise SpoolFull(f"the spool {self.path} is full: {self.frames} frames, {self.bytes} bytes")
        self._delete(evicted, "evicted")
        return tuple(evicted)

    def _oldest(self, limit: int, skip: Collection[FrameKey]) -> list[SpooledFrame]:
        found: list[SpooledFrame] = []
        damaged: list[FrameKey] = []
        for started_at_us, sequence in self._db.execute(
            "SELECT started_at_us, sequence FROM frames ORDER BY started_at_us, sequence"
        ):
            if len(found) >= limit:
                break
            if (started_at_us, sequence) in skip:
                continue
            row = self._db.execute(
                "SELECT started_at_us, sequence, about, value, checksum FROM frames"
                " WHERE started_at_us = ? AND sequence = ?",
                (started_at_us, sequence),
            ).fetchone()
            frame = frame_of(row)
            if frame is None:
                damaged.append((started_at_us, sequence))
            else:
                found.append(frame)
        if damaged:
            log.error("%d frames in the spool %s are damaged and taken out: %s", len(damaged), self.path, damaged[:5])
            self._delete(damaged, "damaged")
            self._losses += len(damaged)
        return found

    def _delete(self, keys: Collection[FrameKey], counter: str) -> None:
        gone: Counter[int] = Counter()
        freed = 0
        for key in keys:
            for (size,) in self._db.execute(
                "DELETE FROM frames WHERE started_at_us = ? AND sequence = ? RETURNING size_bytes", key
            ).fetchall():
                gone[key[0]] += 1
                freed += size
        for started_at_us, number in gone.items():
            count(self._db, counter, started_at_us, number)
        self.frames -= gone.total()
        self.bytes -= freed

    def _shrink(self) -> None:
        with self._lock:
            try:
                if not self.frames and self.path.stat().st_size > _SHRINK_BYTES:
                    # As a script: `execute` would free one page and stop.
                    self._db.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")
            except (sqlite3.Error, OSError):
                log.debug("the spool %s keeps its size", self.path, exc_info=True)

    def _write_refused(self) -> None:
        for started_at_us, (number, last) in self._refused.items():
            count(self._db, "refused", started_at_us, number, last)
