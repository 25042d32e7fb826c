"""Files of one user: private, never opened through a symbolic link, replaced as a whole.

No other user has to read the state of a gate, a spool or a lock, and any user who can open a lock file can hold the
lock (flock(2)). So folders are made with mode 0700 and files with 0600, and a symbolic link in place of a file is
refused: in a folder that others may write, it would lead to a file of their choice (CWE-59).

Files that a person asked for by name (exports, journals, reports) are not private: the umask applies to them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
#: Interval, in seconds, at which a lock is tried again.
_RETRY_S = 0.02
#: Largest file of state that is read at once.
_MOST_BYTES = 64 * 1024 * 1024


def make_private_folder(folder: Path) -> None:
    """Make a folder that only this user may enter, with the folders above it. An existing folder stays as it is.

    Raises
    ------
    OSError
        If it cannot be made, or is not a folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "state" / "gate"
    >>> make_private_folder(folder)
    >>> oct(folder.stat().st_mode & 0o777), oct(folder.parent.stat().st_mode & 0o777)
    ('0o700', '0o700')
    """
    missing = list(itertools.takewhile(lambda path: not path.exists(), [folder, *folder.parents]))
    for each in reversed(missing):
        each.mkdir(_FOLDER_MODE, exist_ok=True)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def open_private(path: Path, flags: int) -> int:
    """Open a file with mode 0600 and return its descriptor; ``O_CREAT`` makes it.

    With ``O_CREAT``, a file that others can open, as made by earlier versions, becomes private.

    Parameters
    ----------
    flags
        Flags of `os.open`, such as ``os.O_RDWR | os.O_CREAT``.

    Raises
    ------
    OSError
        If it cannot be opened, is a symbolic link, is not a regular file, belongs to another user, or is to be written
        and has a second name.

    Examples
    --------
    >>> import tempfile
    >>> link = Path(tempfile.mkdtemp()) / "link"
    >>> link.symlink_to("/etc/hostname")
    >>> open_private(link, os.O_RDONLY)
    Traceback (most recent call last):
    OSError: [Errno 40] it is a symbolic link, which is not followed; remove it
    """
    try:
        # O_NONBLOCK, because a pipe in place of the file would be waited for.
        descriptor = os.open(path, flags & ~os.O_TRUNC | os.O_NONBLOCK | _FLAGS, _FILE_MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link, which is not followed; remove it") from error
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file; remove it")
        # root may use the files of every user, as in `sudo inspection gate reset`.
        if os.geteuid() not in (0, found.st_uid):
            raise OSError(errno.EPERM, "it belongs to another user; remove it or name another folder")
        if flags & (os.O_WRONLY | os.O_RDWR) and found.st_nlink > 1:
            # The other name may be that of a file which must not be written or change its owner.
            raise OSError(errno.EMLINK, "it has a second name (a hard link); remove it, or put a copy in its place")
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
        if flags & os.O_CREAT:
            if found.st_mode & 0o077:
                os.fchmod(descriptor, _FILE_MODE)
            _give_to_owner(descriptor, path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_private(path: Path) -> bytes:
    """Return the content of a file; a symbolic link is refused, and a file that no program of ours wrote so large.

    Raises
    ------
    OSError
        As `open_private`; also if it is larger than 64 MiB; `FileNotFoundError` if it does not exist.
    """
    with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
        data = b"" if os.fstat(file.fileno()).st_size > _MOST_BYTES else file.read(_MOST_BYTES)
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise OSError(errno.EINVAL, "it is larger than 64 MiB, which no state is; remove it")
    return data


def lock_private(path: Path, *, wait_s: float = 0.0) -> IO[bytes] | None:
    """Open and lock a file, made if it does not exist; None if another process holds the lock.

    The lock ends when the file is closed, or with the process. A child that inherits the descriptor keeps it.

    Parameters
    ----------
    wait_s
        Longest time to wait for the lock, in seconds: a process that was stopped holds its lock for ever.

    Raises
    ------
    OSError
        As `open_private`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lock"
    >>> with lock_private(path):
    ...     lock_private(path) is None
    True
    """
    file = os.fdopen(open_private(path, os.O_RDWR | os.O_CREAT), "r+b", buffering=0)
    until_s = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    file.close()
                    return None
                time.sleep(_RETRY_S)
            else:
                return file
    except BaseException:
        file.close()
        raise


def replace_private(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Replace a file atomically: a reader finds either the whole old content or the whole new one.

    Parameters
    ----------
    sync
        Flush file and folder to the device, so that the new content survives a power cut.

    Raises
    ------
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "state.json"
    >>> replace_private(path, b"{}")
    >>> path.read_bytes(), oct(path.stat().st_mode & 0o777)
    (b'{}', '0o600')
    """
    with _beside(path) as (scratch, descriptor):
        _give_to_owner(descriptor, path.parent)
        _write_all(descriptor, data)
        if sync:
            os.fsync(descriptor)
        scratch.replace(path)
    if sync:
        sync_folder(path.parent)


def open_new(folder: Path, prefix: str, suffix: str = "") -> tuple[int, Path]:
    """Make a file with a unique name and the mode that the umask leaves; return its descriptor and path.

    `tempfile.mkstemp` makes files with mode 0600 whatever the umask is, and a program with threads cannot ask for its
    umask without changing it for a moment.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    path = folder / f"{prefix}{secrets.token_hex(8)}{suffix}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666), path


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the device."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, int]]:
    # There is one name for each target, so a crash leaves at most one file; O_EXCL refuses a link in its place.
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, _FILE_MODE)
    try:
        yield scratch, descriptor
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _give_to_owner(descriptor: int, folder: Path) -> None:
    """Make the owner of the folder own a file that root has opened, so that the owner's program can open it again."""
    if os.geteuid() == 0:
        owner = folder.stat()
        if (owner.st_uid, owner.st_gid) != (0, 0):
            with contextlib.suppress(PermissionError):  # root in a container may lack the capability
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
