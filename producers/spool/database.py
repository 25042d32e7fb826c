"""SQLite file under a spool: each step runs as a whole or not at all, also on a disk that is full or damages files."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from producers.spool.damage import (
    CREATE,
    DAMAGED,
    PAGE_BYTES,
    SIZE,
    DamagedFile,
    check_index,
    check_schema,
    code_of,
    connect,
    has_spool_header,
)
from producers.spool.errors import SpoolUnwritable
from producers.spool.options import Sync
from producers.spool.repair import count, move_aside, put_back, rescue
from producers.spool.reserve import Reserve
from schemas.private_files import open_private

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Codes of SQLite for a disk without room.
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
#: Number of pages at which SQLite empties its log into the file. The reserve is twice as large: on a full disk the log
#: can grow by the same size again before an append fails.
_LOG_PAGES = 32
_RESERVE_BYTES = 2 * _LOG_PAGES * PAGE_BYTES
#: Most steps of `_LOG_PAGES` in which free pages of the file go back to a full disk.
_VACUUM_STEPS = 32
#: An empty file that is larger than this, in bytes, is shrunk.
_SHRINK_BYTES = 16 * 1024 * 1024


class SpoolDatabase:
    """Connection, reserve and totals of a spool, used by one process.

    Parameters
    ----------
    path
        Path of the file; the reserve lies beside it.
    sync
        See `producers.spool.options.SpoolOptions`.

    Raises
    ------
    SpoolUnwritable
        If the file cannot be opened or written.
    """

    def __init__(self, path: Path, sync: Sync) -> None:
        self._path = path
        self._sync = sync
        self.lock = threading.RLock()
        self._reserve = Reserve(path.with_suffix(".reserve"))
        self._reserve_bytes = _RESERVE_BYTES
        #: The file is not open, and the next step opens it.
        self._must_open = True
        #: Totals of the frames in the file, updated by the steps. `losses` counts the frames found damaged since it was
        #: last set to 0.
        self.frames = self.bytes = self.losses = 0
        #: Number of refused frames of each start, and their highest sequence number, until the disk takes these counts.
        self.refused: dict[int, tuple[int, int]] = {}
        try:
            self._open()
        except SpoolUnwritable:
            self._reserve.release()
            self._open()
        self.run(self._load)
        self._reserve.take(self._reserve_bytes)

    def close(self) -> None:
        """Close the file; log the counts that the disk does not take even now."""
        with self.lock:
            try:
                if self.refused:
                    self.run(lambda: None, writes=True)
            except SpoolUnwritable as error:
                log.error("%s; not in its counts: %d dropped frames", error, sum(n for n, _ in self.refused.values()))
            finally:
                self._close()
                self._must_open = False

    def make_room(self, size_bytes: int) -> None:
        """Take the reserve that a frame of this size needs.

        Raises
        ------
        SpoolUnwritable
            If the disk does not have the room.
        """
        # A frame is in the log before it is in the file, so the log must have room for the largest frame.
        self._reserve_bytes = max(self._reserve_bytes, _RESERVE_BYTES + 2 * size_bytes)
        if not self._reserve.take(self._reserve_bytes):
            self._relieve(take=True)
            if self._reserve.size_bytes < self._reserve_bytes:
                raise SpoolUnwritable(f"the spool {self._path} is not writable: its disk is full")

    def run(self, work: Callable[[], T], *, writes: bool = False, frees: bool = False) -> T:
        """Run a step as a whole or not at all.

        The step is retried once after the repair of a damaged file, and once after making room on a full disk. A step
        that ``frees`` room may use the reserve; a step that only ``writes`` may use the room beside the reserve.
        """
        with self.lock:
            tried: set[str] = set()
            while True:
                if self._must_open:
                    self._open()
                before = self.frames, self.bytes
                try:
                    self.db.execute("BEGIN IMMEDIATE")
                    result = work()
                    if writes:
                        self._write_refused()
                    self.db.execute("COMMIT")
                except sqlite3.DatabaseError as error:
                    self._rollback(before)
                    code = code_of(error)
                    if code in DAMAGED and "repair" not in tried:
                        tried.add("repair")
                        self._repair()
                    elif code in _FULL and writes and "relieve" not in tried:
                        tried.add("relieve")
                        self._relieve(take=not frees)
                    else:
                        if code in _FULL and writes:
                            self._relieve(take=True)
                        raise SpoolUnwritable(f"the spool {self._path} is not writable: {error}") from error
                except BaseException:
                    self._rollback(before)
                    raise
                else:
                    if "relieve" in tried:
                        self._relieve(take=True)
                    if writes:
                        self.refused.clear()
                    return result

    def shrink(self) -> None:
        """Return the room of an empty file to the disk, if the file is large."""
        with self.lock:
            try:
                if not self.frames and self._path.stat().st_size > _SHRINK_BYTES:
                    # As a script, because `execute` would free one page and stop.
                    self.db.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")
            except (sqlite3.Error, OSError):
                log.debug("the spool %s keeps its size", self._path, exc_info=True)

    def _open(self) -> None:
        try:
            # SQLite creates its log with the mode of the file.
            os.close(open_private(self._path, os.O_RDWR | os.O_CREAT))
        except OSError as error:
            raise SpoolUnwritable(f"the spool {self._path} cannot be opened: {error.strerror or error}") from error
        try:
            if not has_spool_header(self._path):
                raise DamagedFile("it has not the header of a spool")
            self.db = connect(self._path)
            self._must_open = False
            self.db.executescript(
                f"""PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
                PRAGMA synchronous = {self._sync.upper()}; PRAGMA journal_size_limit = 8388608;
                PRAGMA wal_autocheckpoint = {_LOG_PAGES}; {CREATE}"""
            )
            check_schema(self.db)
        except (sqlite3.DatabaseError, OSError) as error:
            self._close()
            if isinstance(error, sqlite3.DatabaseError) and code_of(error) in DAMAGED:
                self._repair()
            else:
                raise SpoolUnwritable(f"the spool {self._path} cannot be opened: {error}") from error

    def _relieve(self, *, take: bool) -> None:
        """Empty SQLite's log with the room of the reserve, and return the file's free pages to the disk.

        Then take the reserve again if ``take`` is True, or leave it to a step that frees room.
        """
        self._reserve.release()
        try:
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            for _ in range(_VACUUM_STEPS):
                if not self.db.execute("PRAGMA freelist_count").fetchone()[0]:
                    break
                self.db.executescript(f"PRAGMA incremental_vacuum({_LOG_PAGES}); PRAGMA wal_checkpoint(TRUNCATE);")
        except sqlite3.Error:
            log.debug("the log of %s cannot be emptied", self._path, exc_info=True)
        if take:
            self._reserve.take(self._reserve_bytes)

    def _rollback(self, before: tuple[int, int]) -> None:
        self.frames, self.bytes = before
        try:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        except sqlite3.Error:
            log.debug("rollback of %s", self._path, exc_info=True)

    def _close(self) -> None:
        if not self._must_open:
            self._must_open = True
            self.db.close()

    def _repair(self) -> None:
        self._close()
        before = self.frames
        aside: Path | None = None
        try:
            aside = move_aside(self._path)
            self._open()
            rescued, lost = rescue(aside, self.db)
            self._load()
        except (sqlite3.Error, OSError, SpoolUnwritable) as error:
            # Without room for the copy the file stays as it was, and the next step tries again.
            self._close()
            self.frames = before
            if aside is not None:
                with contextlib.suppress(OSError):
                    put_back(aside, self._path)
            raise SpoolUnwritable(f"the spool {self._path} is damaged and cannot be repaired: {error}") from error
        # If the counts cannot be read, only the number that this process knew is known. If it knew no frames, one lost
        # frame is counted, because something is lost.
        lost = max(0, before - rescued, lost if lost is not None else 1 if not before else 0)
        self.losses += lost
        log.error(
            "the spool %s was damaged: %d frames rescued, %d lost, the file is kept as %s",
            self._path, rescued, lost, aside.name,
        )  # fmt: skip

    def _load(self) -> None:
        check_index(self.db)
        row = self.db.execute(f"SELECT count(*), coalesce(sum({SIZE}), 0) FROM frames NOT INDEXED").fetchone()
        self.frames, self.bytes = int(row[0]), int(row[1])

    def _write_refused(self) -> None:
        for started_at_us, (number, last) in self.refused.items():
            count(self.db, "refused", started_at_us, number, last)
