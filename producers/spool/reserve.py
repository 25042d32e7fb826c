"""Room on the disk that a spool keeps for itself, so that a disk it has filled can be emptied again.

A deletion needs room in SQLite's log, and the log can be emptied only when its pages find room in the file. On a full
disk both fail, for ever, unless there is something to let go of first.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from schemas.private_files import open_private


class Reserve:
    """A file of zeros beside the spool; it outlives the process, since the next one may find the disk full.

    Examples
    --------
    >>> import tempfile
    >>> reserve = Reserve(Path(tempfile.mkdtemp()) / "press.top.reserve")
    >>> reserve.take(4096), reserve.size_bytes
    (True, 4096)
    >>> reserve.release()
    >>> reserve.size_bytes
    0
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def size_bytes(self) -> int:
        """What it holds."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def take(self, size_bytes: int) -> bool:
        """Hold at least so much; False if the disk does not have it, and what was held stays held."""
        before = self.size_bytes
        if before >= size_bytes:
            return True
        try:
            file = open_private(self._path, os.O_RDWR | os.O_CREAT)
        except OSError:
            return False
        try:
            os.posix_fallocate(file, 0, size_bytes)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file, before)
            return False
        finally:
            os.close(file)
        return True

    def release(self) -> None:
        """Give all of it back to the disk."""
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)
