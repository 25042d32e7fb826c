"""A folder of image files as a camera."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from producers.camera import Capture
from schemas.errors import PluginError
from schemas.topics import FRAMES

_log = logging.getLogger(__name__)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


class FolderCamera:
    """Gives the files of a folder, sorted by name, as they are.

    Files are not decoded: one that is damaged, or cannot be read at all, goes on its way like the others, so that
    the line answers it. Files without the suffix of an image are skipped, with a log line.

    Parameters
    ----------
    directory
        The folder.
    loop
        Begin again at the end, for ever.
    recursive
        Sub-folders too.

    Raises
    ------
    PluginError
        When opened: if there is no such folder, or no image in it.
    """

    def __init__(self, directory: str | Path, loop: bool = False, recursive: bool = False) -> None:
        self._directory = Path(directory).expanduser()
        self._loop = loop
        self._recursive = recursive
        self._files: list[Path] = []

    def open(self) -> None:
        """List the files."""
        if not self._directory.is_dir():
            raise PluginError(f"no folder {self._directory}")
        try:
            found = sorted(p for p in self._directory.glob("**/*" if self._recursive else "*") if not p.is_dir())
        except OSError as error:
            raise PluginError(f"cannot list {self._directory}: {error.strerror}") from error
        self._files = [path for path in found if path.suffix.lower() in SUFFIXES]
        skipped = [path.name for path in found if path.suffix.lower() not in SUFFIXES]
        if skipped:
            _log.warning("%s: skipped %d files that are no images, as %s", self._directory, len(skipped), skipped[0])
        if not self._files:
            raise PluginError(f"no PNG, JPEG, BMP or TIFF file in {self._directory}")

    def close(self) -> None:
        """Forget the files."""
        self._files = []

    def __iter__(self) -> Iterator[Capture]:
        if not self._files:
            self.open()
        while True:
            for path in self._files:
                name = path.relative_to(self._directory).as_posix()
                yield Capture(encoded=_read(path), attributes={"file": name})
            if not self._loop:
                return


def _read(path: Path) -> bytes:
    try:
        # A fifo or a device would be waited for, or never end.
        if not path.is_file():
            raise OSError(None, "not a regular file")
        with path.open("rb") as file:
            # One byte over the limit is enough for the publisher to see that it is too large.
            return file.read(FRAMES.max_message_bytes + 1)
    except OSError as error:
        _log.warning("cannot read %s: %s", path, error.strerror)
        return b""
