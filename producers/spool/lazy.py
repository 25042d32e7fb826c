"""Spool on a disk that may be full when the camera starts: the camera goes on, and the file is opened later."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable
from pathlib import Path

from producers.spool.errors import SpoolError, SpoolInUse, SpoolMisplaced, SpoolUnwritable
from producers.spool.files import SpoolLock
from producers.spool.inspect_file import SpoolCounts
from producers.spool.options import SpoolOptions
from producers.spool.record import FrameKey, SpooledFrame
from producers.spool.store import Spool
from transport.surviving import surviving

log = logging.getLogger(__name__)

#: Pause between two tries to open the file, in seconds.
RETRY_S = 3.0


class LazySpool:
    """Spool whose file may be opened later. While the file is not open, it is empty and refuses each frame.

    A thread retries to open the file. The lock is taken at once if the disk allows it, so that a second publisher of
    the camera is also refused meanwhile. The methods are those of `Spool`. Thread-safe.

    Parameters
    ----------
    path, options
        See `Spool`.
    retry_s
        Pause between two tries, in seconds.

    Raises
    ------
    SpoolInUse
        If another process writes the spool.
    SpoolMisplaced
        If the path of its directory is not a directory, or we must not write to it: a retry cannot correct a mistake of
        set-up.
    """

    def __init__(self, path: Path, options: SpoolOptions, retry_s: float = RETRY_S) -> None:
        self.path = path
        self._options = options
        self._retry_s = retry_s
        self._lock_file: SpoolLock | None = None
        self._spool: Spool | None = None
        self._error = ""
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        #: Number of lost frames of each start while the file was not open, and their highest sequence number.
        self._losses: dict[int, tuple[int, int]] = {}
        self._losses_lock = threading.Lock()
        try:
            self._open()
        except (SpoolInUse, SpoolMisplaced):
            self._release()
            raise
        except SpoolUnwritable as error:
            self._error = str(error)
            log.warning("%s; the camera goes on without it, and it is tried again every %g s", error, retry_s)
            self._thread = threading.Thread(target=self._retry, name=f"spool {path.name}", daemon=True)
            self._thread.start()

    @property
    def frames(self) -> int:
        """Number of frames in the spool; 0 while the file is not open."""
        return 0 if self._spool is None else self._spool.frames

    @property
    def bytes(self) -> int:
        """Bytes of the frames in the spool; 0 while the file is not open."""
        return 0 if self._spool is None else self._spool.bytes

    def append(self, frame: SpooledFrame, *, keep: Collection[FrameKey] = ()) -> tuple[FrameKey, ...]:
        """Put a frame on disk, see `Spool.append`; raise `SpoolUnwritable` while the file is not open."""
        if self._spool is None:
            raise SpoolUnwritable(self._error)
        return self._spool.append(frame, keep=keep)

    def record_loss(self, key: FrameKey) -> None:
        """Count a dropped frame that is not in the spool; the count reaches the disk once the file is open."""
        with self._losses_lock:
            if self._spool is None:
                number, last = self._losses.get(key[0], (0, -1))
                self._losses[key[0]] = (number + 1, max(last, key[1]))
                return
        self._spool.record_loss(key)

    def oldest(self, limit: int, *, skip: Collection[FrameKey] = ()) -> list[SpooledFrame]:
        """Return the first frames, see `Spool.oldest`; an empty list while the file is not open."""
        return [] if self._spool is None else self._spool.oldest(limit, skip=skip)

    def delete(self, keys: Iterable[FrameKey], *, drained: bool) -> None:
        """Delete frames, see `Spool.delete`; while the file is not open there are no frames to delete."""
        if self._spool is not None:
            self._spool.delete(keys, drained=drained)

    def count_of(self, started_at_us: int) -> int:
        """Return the number of frames of one start of the camera; 0 while the file is not open."""
        return 0 if self._spool is None else self._spool.count_of(started_at_us)

    def take_losses(self) -> int:
        """Return the number of frames found damaged since the last call."""
        return 0 if self._spool is None else self._spool.take_losses()

    @property
    def counts(self) -> SpoolCounts:
        """Counts of the spool; zeros while the file is not open."""
        return SpoolCounts(0, 0, 0, 0, 0, 0, 0) if self._spool is None else self._spool.counts

    def close(self) -> None:
        """Close the file, or stop the retries to open it."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        if self._spool is not None:
            self._spool.close()
        self._release()

    def _open(self) -> None:
        if self._lock_file is None:
            self._lock_file = SpoolLock(self.path)
        spool = Spool(self.path, self._options, self._lock_file)
        with self._losses_lock:
            spool.adopt_losses(self._losses)
            self._spool = spool

    def _retry(self) -> None:
        while not self._closing.wait(self._retry_s):
            with surviving(log, f"opening the spool {self.path}"):
                try:
                    self._open()
                except SpoolError as error:
                    self._error = str(error)
                    log.debug("%s", error)
                else:
                    log.warning("the spool %s is open now, %d frames in it", self.path, self.frames)
                    return

    def _release(self) -> None:
        if self._lock_file is not None:
            self._lock_file.release()
            self._lock_file = None
