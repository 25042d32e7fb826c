"""Files that a person named, or that lie in a folder: read within bounds, and never waiting for a pipe or a device.

An output that is renamed to its place takes the place of whatever is there; `check_output_file` refuses all but files.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from schemas.errors import SettingsError
from schemas.private_files import open_new, sync_folder


def read_plain(path: Path, most_bytes: int, *, regular: bool = True) -> bytes:
    """Read a whole file; a symbolic link is followed.

    Parameters
    ----------
    most_bytes
        Largest file that is read; a larger one is refused before it is in memory.
    regular
        False: also read a pipe, as a shell makes one for ``<(command)``.

    Raises
    ------
    OSError
        If it cannot be read, is no regular file, or is too large; ``strerror`` says why.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "image.png"
    >>> path.write_bytes(bytes(20))
    20
    >>> len(read_plain(path, 20))
    20
    >>> read_plain(path, 19)
    Traceback (most recent call last):
    OSError: [Errno 22] it has more than 19 bytes, the most that is read
    """
    # O_NONBLOCK, because a pipe without a writer would be waited for.
    flags = os.O_RDONLY | os.O_CLOEXEC | (os.O_NONBLOCK if regular else 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError as error:  # a name with a zero byte
        raise OSError(errno.EINVAL, str(error)) from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise OSError(errno.EINVAL, "it is no regular file") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) and (regular or not stat.S_ISFIFO(found.st_mode)):
            raise OSError(errno.EINVAL, "it is no regular file")
        data = b"" if found.st_size > most_bytes else file.read(most_bytes + 1)
    if max(found.st_size, len(data)) > most_bytes:
        raise OSError(errno.EINVAL, f"it has more than {_size(most_bytes)}, the most that is read")
    return data


def check_output_file(path: Path) -> None:
    """Refuse an output that would take the place of a folder, a device, a pipe or a socket, also behind a link.

    root may rename a file to ``/dev/null``, which then is a file for all programs of the machine.

    Raises
    ------
    SettingsError
        If something else than a regular file is there.

    Examples
    --------
    >>> check_output_file(Path("/dev/null"))
    Traceback (most recent call last):
    ...
    schemas.errors.SettingsError: /dev/null: is a device, a pipe or a socket; name a file
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return  # nothing is there, or writing says why it cannot be reached
    if stat.S_ISDIR(mode):
        raise SettingsError(f"{path}: is a folder; name a file")
    if not stat.S_ISREG(mode):
        raise SettingsError(f"{path}: is a device, a pipe or a socket; name a file")


def replace_plain(path: Path, data: bytes) -> None:
    """Replace a file as a whole: after a full disk, a kill or a power cut the earlier content is still there.

    Raises
    ------
    OSError
        If it cannot be written.
    SettingsError
        If something else than a file is there.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "selection.json"
    >>> replace_plain(path, b"{}")
    >>> path.read_bytes()
    b'{}'
    """
    check_output_file(path)
    write_and_rename(path, data, f".{path.name[:100]}.", ".part")


def write_and_rename(path: Path, data: bytes, prefix: str, suffix: str = "") -> None:
    """Write a file beside the path, sync it and rename it: the path has all the data, or what it had before.

    Parameters
    ----------
    prefix, suffix
        Begin and end of the name of the file beside it. A crash may leave this file.

    Raises
    ------
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_and_rename(folder / "image", b"data", ".part-")
    >>> [(each.name, each.read_bytes()) for each in folder.iterdir()]
    [('image', b'data')]
    """
    descriptor, part = open_new(path.parent, prefix, suffix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _size(size_bytes: int) -> str:
    mib, rest = divmod(size_bytes, 1024 * 1024)
    return f"{size_bytes} bytes" if rest or not mib else f"{mib} MiB"


def real_path(path: Path, *, strict: bool = False) -> Path:
    """Return the path without symbolic links; links that run in a circle stay, where `Path.resolve` would fail.

    Raises
    ------
    OSError
        If ``strict``, and there is no such file.

    Examples
    --------
    >>> real_path(Path("/usr/../tmp/none"))
    PosixPath('/tmp/none')
    """
    return Path(os.path.realpath(path, strict=strict))
