"""File locks of the broker: for the download of jars, for the start, and for the data directory that a JVM uses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from schemas.private_files import lock_private


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Lock a file while the block runs; a second caller waits for the first one.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory, exclusive(Path(directory) / "lock"):
    ...     try_lock(Path(directory) / "lock") is None
    True
    """
    file = lock_private(path, wait_s=math.inf)
    assert file is not None
    with file:
        yield


def try_lock(path: Path) -> IO[bytes] | None:
    """Return the locked file, or None if another process holds the lock.

    A child process that inherits the file keeps the lock until it ends. So a JVM locks its data directory until it
    ends, also by `kill -9`, and never leaves a stale lock. Kafka's own ``.lock`` is too late: a KRaft node takes it
    only after it has opened ``__cluster_metadata``, and two nodes that write there damage it.
    """
    return lock_private(path)
