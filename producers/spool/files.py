"""Paths of spools, the search for spools in a directory, and the lock of a spool."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from producers.options import CameraIdentity
from producers.spool.errors import SpoolInUse, SpoolMisplaced, SpoolUnwritable
from schemas.private_files import lock_private, make_private_folder, read_private

SUFFIX = ".spool"
#: Errors of a disk that can pass with time. All other errors are mistakes of set-up.
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE}


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """Spool in a directory: its file, the prefix of its topics, its camera (``station/camera``)."""

    path: Path
    prefix: str
    camera: str


def spool_path(directory: Path, prefix: str, identity: CameraIdentity) -> Path:
    """Return the path of a camera's spool. No name can contain a ``/``, and the name of a station no ``.``.

    Examples
    --------
    >>> spool_path(Path("/var/lib/spool"), "inspection", CameraIdentity("line-1", "press", "top")).as_posix()
    '/var/lib/spool/inspection/press.top.spool'
    """
    return directory / prefix / f"{identity.station}.{identity.camera_id}{SUFFIX}"


def find_spools(directory: Path) -> list[SpoolFile]:
    """Return all spools below a directory; an empty list if the directory does not exist."""
    found = []
    for path in sorted(directory.glob(f"[!.]*/[!.]*{SUFFIX}")):
        station, dot, camera = path.name.removesuffix(SUFFIX).partition(".")
        if dot:
            found.append(SpoolFile(path, path.parent.name, f"{station}/{camera}"))
    return found


class SpoolLock:
    """Lock of the one process that may write a spool; the system releases it when the process ends, however it ends.

    Raises
    ------
    SpoolInUse
        If another process has the lock.
    SpoolUnwritable
        If the file cannot be made; `SpoolMisplaced` if a retry cannot succeed.
    """

    def __init__(self, path: Path) -> None:
        lock = path.with_suffix(".lock")
        try:
            make_private_folder(path.parent)
            file = lock_private(lock)
            if file is None:
                owner = read_private(lock)[:20].decode(errors="replace").strip() or "unknown"
                raise SpoolInUse(f"the spool {path} is in use by process {owner}: one publisher a camera")
        except OSError as error:
            kind = SpoolUnwritable if error.errno in _PASSING else SpoolMisplaced
            raise kind(f"the spool {path} cannot be made: {lock.name}: {error.strerror}") from error
        self._file = file
        with contextlib.suppress(OSError):  # On a full disk the lock works too, only without the id of its process.
            self._file.truncate(0)
            self._file.write(str(os.getpid()).encode())
            self._file.flush()

    def release(self) -> None:
        """Release the lock."""
        self._file.close()
