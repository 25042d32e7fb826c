"""Where a camera's spool lies, and which spools there are."""

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
#: What a disk says that may have room, or be well, later; all else is a mistake of set-up.
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE}


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """One spool in a directory: its file, the prefix of its topics, its camera (``station/camera``)."""

    path: Path
    prefix: str
    camera: str


def spool_path(directory: Path, prefix: str, identity: CameraIdentity) -> Path:
    """File of a camera's spool; none of the names can hold a ``/``, and stations no ``.``.

    Examples
    --------
    >>> spool_path(Path("/var/lib/spool"), "inspection", CameraIdentity("line-1", "press", "top")).as_posix()
    '/var/lib/spool/inspection/press.top.spool'
    """
    return directory / prefix / f"{identity.station}.{identity.camera_id}{SUFFIX}"


def find_spools(directory: Path) -> list[SpoolFile]:
    """All spools below a directory; an empty list if it does not exist."""
    found = []
    for path in sorted(directory.glob(f"[!.]*/[!.]*{SUFFIX}")):
        station, dot, camera = path.name.removesuffix(SUFFIX).partition(".")
        if dot:
            found.append(SpoolFile(path, path.parent.name, f"{station}/{camera}"))
    return found


class SpoolLock:
    """Held by the one process that may write a spool; the system frees it when the process ends, however it ends.

    Raises
    ------
    SpoolInUse
        If another holds it.
    SpoolUnwritable
        If the file cannot be made; `SpoolMisplaced` where time would not help.
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
        with contextlib.suppress(OSError):  # On a full disk it is held all the same, without a name.
            self._file.truncate(0)
            self._file.write(str(os.getpid()).encode())
            self._file.flush()

    def release(self) -> None:
        """Let another process have it."""
        self._file.close()
