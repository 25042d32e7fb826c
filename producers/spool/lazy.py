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

log = logging.getLogger(__name__)

#: Pause between two tries to open the file, in seconds.
RETRY_S = 3.0


class LazySpool(Spool):
    """Spool whose file may be opened later. While the file is not open, it is empty and refuses each frame.

    A thread retries to open the file. The lock is taken at once if the disk allows it, so that a second publisher of
    the camera is also refused meanwhile.

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
        self._retry_s = retry_s
        self._lock_file: SpoolLock | None = None
        self._why = ""
        self._is_open = threading.Event()
        self._given_up = threading.Event()
        self._thread: threading.Thread | None = None
        self.path, self._options = path, options
        #: Number of frames of each start that were refused while the file was not open, and their highest sequence
        #: number.
        self._refused: dict[int, tuple[int, int]] = {}
        try:
            self._try()
        except (SpoolInUse, SpoolMisplaced):
            self._release()
            raise
        except SpoolUnwritable as error:
            self._why = str(error)
            log.warning("%s; the camera goes on without it, and it is tried again every %g s", error, retry_s)
            self._thread = threading.Thread(target=self._try_on, name=f"spool {path.name}", daemon=True)
            self._thread.start()

    @property
    def frames(self) -> int:
        """Number of frames in the spool; 0 while the file is not open."""
        return super().frames if self._is_open.is_set() else 0

    @property
    def bytes(self) -> int:
        """Bytes of the frames in the spool; 0 while the file is not open."""
        return super().bytes if self._is_open.is_set() else 0

    def refuse(self, key: FrameKey) -> None:
        """Count a dropped frame that is not in the spool; the count reaches the disk once the file is open."""
        if self._is_open.is_set():
            super().refuse(key)
            return
        number, last = self._refused.get(key[0], (0, -1))
        self._refused[key[0]] = (number + 1, max(last, key[1]))

    def append(self, frame: SpooledFrame, *, keep: Collection[FrameKey] = ()) -> tuple[FrameKey, ...]:
        """Put a frame on disk, see `Spool.append`; raise `SpoolUnwritable` while the file is not open."""
        if not self._is_open.is_set():
            raise SpoolUnwritable(self._why)
        return super().append(frame, keep=keep)

    def oldest(self, limit: int, *, skip: Collection[FrameKey] = ()) -> list[SpooledFrame]:
        """Return the first frames, see `Spool.oldest`; an empty list while the file is not open."""
        return super().oldest(limit, skip=skip) if self._is_open.is_set() else []

    def delete(self, keys: Iterable[FrameKey], *, drained: bool) -> None:
        """Delete frames, see `Spool.delete`; while the file is not open there are no frames to delete."""
        if self._is_open.is_set():
            super().delete(keys, drained=drained)

    def count_of(self, started_at_us: int) -> int:
        return super().count_of(started_at_us) if self._is_open.is_set() else 0

    def take_losses(self) -> int:
        return super().take_losses() if self._is_open.is_set() else 0

    @property
    def counts(self) -> SpoolCounts:
        """Counts of the spool; zeros while the file is not open."""
        return super().counts if self._is_open.is_set() else SpoolCounts(0, 0, 0, 0, 0, 0, 0)

    def close(self) -> None:
        """Close the file, or stop the retries to open it."""
        self._given_up.set()
        if self._thread is not None:
            self._thread.join()
        if self._is_open.is_set():
            super().close()
        self._release()

    def _try(self) -> None:
        if self._lock_file is None:
            self._lock_file = SpoolLock(self.path)
        super().__init__(self.path, self._options, self._lock_file)
        with self._file.lock:  # the counts reach the disk with the next change
            self._file.refused.update(self._refused)
        self._is_open.set()

    def _try_on(self) -> None:
        while not self._given_up.wait(self._retry_s):
            try:
                self._try()
            except SpoolError as error:
                self._why = str(error)
                log.debug("%s", error)
            else:
                log.warning("the spool %s is open now, %d frames in it", self.path, self.frames)
                return

    def _release(self) -> None:
        if self._lock_file is not None:
            self._lock_file.release()
            self._lock_file = None
