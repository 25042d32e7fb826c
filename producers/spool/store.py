"""The file of one spool: SQLite in WAL mode, a checksum a record, bounded by bytes.

What makes it safe: SQLite's log makes an append whole or absent, and ignores a torn tail; the record's
checksum finds what the disk has altered since. (SQLite, "Write-Ahead Logging", sqlite.org/wal.html.)
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from producers.spool.database import SpoolDatabase
from producers.spool.errors import SpoolFull, SpoolUnwritable
from producers.spool.files import SpoolLock
from producers.spool.look import SpoolCounts, counts_of, frame_of
from producers.spool.options import SpoolOptions
from producers.spool.record import FrameKey, SpooledFrame
from producers.spool.repair import COLUMNS, count

log = logging.getLogger(__name__)


class Spool:
    """Frames of one camera on disk, in the order of capture. Safe to use from several threads.

    Parameters
    ----------
    path
        The file, see `producers.spool.spool_path`.
    options
        Bound, policy, fsync.
    lock
        Held by the caller; without it the spool takes one of its own.

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

    def __init__(self, path: Path, options: SpoolOptions, lock: SpoolLock | None = None) -> None:
        self.path = path
        self._options = options
        self._owned = lock or SpoolLock(path)
        try:
            self._file = SpoolDatabase(path, options.sync)
        except BaseException:
            if lock is None:
                self._owned.release()
            raise

    @property
    def frames(self) -> int:
        """How many frames it holds."""
        return self._file.frames

    @property
    def bytes(self) -> int:
        """What they count towards the bound."""
        return self._file.bytes

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
        with self._file.lock:
            if frame.size_bytes <= self._options.max_bytes:
                self._file.make_room(frame.size_bytes)
            return self._file.run(lambda: self._append(frame, keep), writes=True)

    def refuse(self, key: FrameKey) -> None:
        """Count a frame that is given up and is not here. A disk that does not take it gets it with the next change."""
        with self._file.lock:
            number, last = self._file.refused.get(key[0], (0, -1))
            self._file.refused[key[0]] = (number + 1, max(last, key[1]))
            try:
                self._file.run(lambda: None, writes=True)
            except SpoolUnwritable:
                log.debug("%s keeps a count in memory", self.path, exc_info=True)

    def oldest(self, limit: int, *, skip: Collection[FrameKey] = ()) -> list[SpooledFrame]:
        """The first frames in the order of capture; damaged ones are taken out, counted and logged."""
        return self._file.run(lambda: self._oldest(limit, skip))

    def delete(self, keys: Iterable[FrameKey], *, drained: bool) -> None:
        """Take frames out: Kafka has acknowledged them (``drained``), or they are given up.

        Raises
        ------
        SpoolUnwritable
            If the disk does not take the change; the frames stay and may be sent twice.
        """
        wanted = list(keys)
        if wanted:
            self._file.run(lambda: self._delete(wanted, "drained" if drained else "evicted"), writes=True, frees=True)
            self._file.shrink()

    def count_of(self, started_at_us: int) -> int:
        """How many frames of one start of the camera it holds."""
        query = "SELECT count(*) FROM frames WHERE started_at_us = ?"
        return self._file.run(lambda: int(self._file.db.execute(query, (started_at_us,)).fetchone()[0]))

    def take_losses(self) -> int:
        """Frames found damaged since it was last asked."""
        with self._file.lock:
            losses, self._file.losses = self._file.losses, 0
            return losses

    @property
    def counts(self) -> SpoolCounts:
        """What it holds and has seen."""
        return self._file.run(lambda: counts_of(self._file.db))

    def close(self) -> None:
        """Close the file; what it holds stays."""
        try:
            self._file.close()
        finally:
            self._owned.release()

    def _append(self, frame: SpooledFrame, keep: Collection[FrameKey]) -> tuple[FrameKey, ...]:
        known = self._file.db.execute(
            "SELECT 1 FROM frames WHERE started_at_us = ? AND sequence = ?", frame.key
        ).fetchone()  # fmt: skip
        if known:
            return ()
        evicted = self._make_room(frame.size_bytes, keep)
        self._file.db.execute(
            f"INSERT INTO frames ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
            (*frame.key, frame.size_bytes, frame.about, frame.checksum, frame.value),
        )
        count(self._file.db, "appended", frame.started_at_us, 1, frame.sequence)
        self._file.frames += 1
        self._file.bytes += frame.size_bytes
        return evicted

    def _make_room(self, size_bytes: int, keep: Collection[FrameKey]) -> tuple[FrameKey, ...]:
        over = self.bytes + size_bytes - self._options.max_bytes
        if over <= 0:
            return ()
        evicted: list[FrameKey] = []
        if self._options.when_full == "drop-oldest" and size_bytes <= self._options.max_bytes:
            for started_at_us, sequence, size in self._file.db.execute(
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
        for started_at_us, sequence in self._file.db.execute(
            "SELECT started_at_us, sequence FROM frames ORDER BY started_at_us, sequence"
        ):
            if len(found) >= limit:
                break
            if (started_at_us, sequence) in skip:
                continue
            row = self._file.db.execute(
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
            self._file.losses += len(damaged)
        return found

    def _delete(self, keys: Collection[FrameKey], counter: str) -> None:
        gone: Counter[int] = Counter()
        freed = 0
        for key in keys:
            for (size,) in self._file.db.execute(
                "DELETE FROM frames WHERE started_at_us = ? AND sequence = ? RETURNING size_bytes", key
            ).fetchall():
                gone[key[0]] += 1
                freed += size
        for started_at_us, number in gone.items():
            count(self._file.db, counter, started_at_us, number)
        self._file.frames -= gone.total()
        self._file.bytes -= freed
