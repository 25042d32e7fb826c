"""File of one spool: SQLite in WAL mode, with a checksum for each record, bounded by bytes.

With SQLite's log an append is whole or absent, and a torn tail of the log is ignored. The checksum of a record shows if
the disk has altered the record since. (SQLite, "Write-Ahead Logging", sqlite.org/wal.html.)
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from producers.spool.damage import SIZE, DamagedFile, frame_at, keys_in_order
from producers.spool.database import SpoolDatabase
from producers.spool.errors import SpoolFull, SpoolUnwritable
from producers.spool.files import SpoolLock
from producers.spool.inspect_file import SpoolCounts, counts_of
from producers.spool.options import SpoolOptions
from producers.spool.record import FrameKey, SpooledFrame
from producers.spool.repair import count, insert

log = logging.getLogger(__name__)


class Spool:
    """Spool: frames of one camera on disk, in the order of capture. Thread-safe.

    Parameters
    ----------
    path
        Path of the file, see `producers.spool.spool_path`.
    options
        Bound, policy, fsync.
    lock
        Lock that the caller has taken. Default: the spool takes a lock of its own.

    Raises
    ------
    SpoolInUse
        If another process writes the spool.
    SpoolUnwritable
        If the file cannot be opened or written.

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
        """Number of frames in the spool."""
        return self._file.frames

    @property
    def bytes(self) -> int:
        """Bytes of the frames that count towards the bound."""
        return self._file.bytes

    def append(self, frame: SpooledFrame, *, keep: Collection[FrameKey] = ()) -> tuple[FrameKey, ...]:
        """Put a frame on disk; return the keys of the evicted frames. A frame that is already on disk stays.

        Parameters
        ----------
        keep
            Frames that must not be evicted, because they are in flight to Kafka.

        Raises
        ------
        SpoolFull
            If the spool has no room; a caller that drops the frame calls `record_loss`.
        SpoolUnwritable
            If the disk does not take the frame.
        """
        with self._file.lock:
            if frame.size_bytes <= self._options.max_bytes:
                self._file.make_room(frame.size_bytes)
            return self._file.run(lambda: self._append(frame, keep), writes=True)

    def record_loss(self, key: FrameKey) -> None:
        """Count a dropped frame that is not in the spool.

        A count that the disk does not take now is written with the next change.
        """
        with self._file.lock:
            number, last = self._file.refused.get(key[0], (0, -1))
            self._file.refused[key[0]] = (number + 1, max(last, key[1]))
            try:
                self._file.run(lambda: None, writes=True)
            except SpoolUnwritable:
                log.debug("%s keeps a count in memory", self.path, exc_info=True)

    def adopt_losses(self, losses: Mapping[int, tuple[int, int]]) -> None:
        """Take over losses from before the file was open, which `record_loss` would have counted.

        Parameters
        ----------
        losses
            Number of lost frames of each start, and their highest sequence number. They are written with the next
            change.
        """
        with self._file.lock:
            self._file.refused.update(losses)

    def oldest(self, limit: int, *, skip: Collection[FrameKey] = ()) -> list[SpooledFrame]:
        """Return the first frames in the order of capture; damaged frames are deleted, counted and logged."""
        return self._file.run(lambda: self._oldest(limit, skip))

    def delete(self, keys: Iterable[FrameKey], *, drained: bool) -> None:
        """Delete frames: Kafka has acknowledged them (``drained``), or they are dropped.

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
        """Return the number of frames of one start of the camera in the spool."""
        query = "SELECT count(*) FROM frames WHERE started_at_us = ?"
        return self._file.run(lambda: int(self._file.db.execute(query, (started_at_us,)).fetchone()[0]))

    def take_losses(self) -> int:
        """Return the number of frames found damaged since the last call."""
        with self._file.lock:
            losses, self._file.losses = self._file.losses, 0
            return losses

    @property
    def counts(self) -> SpoolCounts:
        """Counts of the frames that are and were in the spool."""
        return self._file.run(lambda: counts_of(self._file.db))

    def close(self) -> None:
        """Close the file; its frames stay."""
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
        insert(self._file.db, frame)
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
                f"SELECT started_at_us, sequence, {SIZE} FROM frames ORDER BY started_at_us, sequence"
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
        damaged: list[tuple[int, FrameKey]] = []
        seen = 0
        for place, key in keys_in_order(self._file.db):
            if len(found) >= limit:
                break
            seen += 1
            if key in skip:
                continue
            frame = frame_at(self._file.db, place, key)
            if frame is None:
                damaged.append((place, key))
            else:
                found.append(frame)
        else:
            if seen != self.frames:
                raise DamagedFile(f"its index has {seen} entries for {self.frames} frames")
        if damaged:
            self._delete_damaged(damaged)
        return found

    def _delete_damaged(self, damaged: Sequence[tuple[int, FrameKey]]) -> None:
        keys = [key for _, key in damaged]
        log.error("%d frames in the spool %s are damaged and taken out: %s", len(keys), self.path, keys[:5])
        freed = 0
        for place, _ in damaged:
            # By its place, because the key may be what is damaged.
            row = self._file.db.execute(f"DELETE FROM frames WHERE rowid = ? RETURNING {SIZE}", (place,)).fetchone()
            freed += row[0]
        self._count_deleted(keys, freed, "damaged")
        self._file.losses += len(keys)

    def _delete(self, keys: Collection[FrameKey], counter: str) -> None:
        gone: list[FrameKey] = []
        freed = 0
        for key in keys:
            where = "WHERE started_at_us = ? AND sequence = ?"
            rows = self._file.db.execute(
                f"DELETE FROM frames {where} RETURNING started_at_us, sequence, {SIZE}", key
            ).fetchall()  # fmt: skip
            # A damaged index leads to another frame, or does not find a frame, which would be sent again and again.
            is_wrong = any(row[:2] != key for row in rows)
            if is_wrong or (not rows and self._contains(where, key)):
                raise DamagedFile(f"its index does not find the frame {key}")
            gone += [key] * len(rows)
            freed += sum(row[2] for row in rows)
        self._count_deleted(gone, freed, counter)

    def _contains(self, where: str, key: FrameKey) -> bool:
        return self._file.db.execute(f"SELECT 1 FROM frames NOT INDEXED {where}", key).fetchone() is not None

    def _count_deleted(self, keys: Collection[FrameKey], freed: int, counter: str) -> None:
        for started_at_us, number in Counter(started_at_us for started_at_us, _ in keys).items():
            count(self._file.db, counter, started_at_us, number)
        self._file.frames -= len(keys)
        self._file.bytes -= freed
