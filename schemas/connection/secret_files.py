"""Reading of files with secrets, or of settings that decide who is trusted.

Such a file may be a symbolic link, as Kubernetes makes them; its target counts. It is opened first and examined then,
so that it cannot be exchanged in between.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

#: Largest file that is read, in bytes.
_MOST_BYTES = 1024 * 1024
_READ_BY_OTHERS = "others can read it; `chmod o= FILE`, or `defaultMode: 0440` for a Kubernetes secret"


@dataclass(frozen=True, slots=True)
class TrustedFile:
    """Content of a file that only its owner can change.

    Parameters
    ----------
    is_secret
        False if other users can read the file.
    """

    content: bytes = field(repr=False)
    is_secret: bool


def read_trusted(path: Path) -> TrustedFile:
    """Read a regular file of root or of this user that others cannot write.

    Raises
    ------
    OSError
        If it cannot be read, or is not such a file; ``strerror`` says why.
    """
    # O_NONBLOCK, because a pipe in place of the file would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is not a regular file")
        if found.st_uid != 0 and os.geteuid() not in (0, found.st_uid):
            raise OSError(0, "it belongs to another user, neither to root nor to the user of this process")
        if found.st_mode & 0o002:
            raise OSError(0, "others can write it; `chmod o= FILE`")
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OSError(0, "it is larger than 1 MiB")
    return TrustedFile(content, is_secret=not found.st_mode & 0o007)


def read_secret(path: Path) -> bytes:
    """Read a file as `read_trusted`; a file that others can read is refused.

    Raises
    ------
    OSError
        As `read_trusted`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "password"
    >>> _ = path.write_bytes(b"x")
    >>> path.chmod(0o644)
    >>> read_secret(path)
    Traceback (most recent call last):
    OSError: [Errno 0] others can read it; `chmod o= FILE`, or `defaultMode: 0440` for a Kubernetes secret
    """
    found = read_trusted(path)
    if not found.is_secret:
        raise OSError(0, _READ_BY_OTHERS)
    return found.content
