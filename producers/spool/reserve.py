"""Room on the disk that a spool reserves for itself, so that it can free a disk that it has filled.

A deletion needs room in SQLite's log. The log can be emptied only if the file has room for its pages. On a full disk
both fail for ever, unless the spool can first release a reserve.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from schemas.private_files import open_private


class Reserve:
    """File of zeros beside the spool. It outlives the process, because the next process may find the disk full.

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
        """Size of the reserve, in bytes."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def take(self, size_bytes: int) -> bool:
        """Reserve at least ``size_bytes``; return False if the disk does not have the room.

        In this case the reserve keeps its size.
        """
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
        """Return the whole reserve to the disk."""
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)
