"""File locks of the broker: who may fetch, who may start, and which data directory a JVM is using."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from schemas.private_files import lock_private


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock for the time of a block; whoever comes second waits for the first.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory, exclusive(Path(directory) / "lock"):
    ...     try_lock(Path(directory) / "lock") is None
    True
    """
    file = lock_private(path, wait=True)
    assert file is not None
    with file:
        yield


def try_lock(path: Path) -> IO[bytes] | None:
    """The locked file, None if another has it. A child that inherits the file keeps the lock for as long as it lives.

    So a JVM holds its data directory until its very end, `kill -9` included, and no stale lock is left. Kafka's own
    ``.lock`` does not do: a KRaft node takes it after it has opened ``__cluster_metadata``, and two nodes that write
    there damage it.
    """
    return lock_private(path)
