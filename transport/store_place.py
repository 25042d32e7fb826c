"""Place of a local image store: the directory must stay the one that the program has written to.

A volume that is unmounted leaves an empty directory, or none. Images that are written there fill another disk, and no
reader finds them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem


class StorePlace:
    """Directory of a store, known by its inode and by a folder that was written there. Other file systems always pass.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp(), "images")
    >>> place = StorePlace(LocalFileSystem(), str(folder))
    >>> place.check()
    >>> (folder / "2026-11-24").mkdir(parents=True)
    >>> place.has_written("2026-11-24")
    >>> place.check()
    >>> _ = folder.rename(folder.with_name("elsewhere"))
    >>> place.check()
    Traceback (most recent call last):
    ...
    FileNotFoundError: the folder is not the one of the last image: mount its volume, or restart this program
    """

    def __init__(self, files: Any, root: str) -> None:
        self._root = Path(root) if isinstance(files, LocalFileSystem) else None
        self._inode: tuple[int, int] | None = None
        self._folder = ""

    def check(self) -> None:
        """Check that the directory is the one of the last write.

        Raises
        ------
        OSError
            If it is another one, or gone.
        """
        if self._root is None or self._inode is None or self._inode == _inode(self._root):
            return
        # A volume that is mounted again may have another number.
        if not (self._root / self._folder).is_dir():
            raise FileNotFoundError(
                "the folder is not the one of the last image: mount its volume, or restart this program"
            )

    def has_written(self, folder: str) -> None:
        """Record that a folder of the directory has been written to."""
        if self._root is not None:
            self._folder = folder
            self._inode = _inode(self._root)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
