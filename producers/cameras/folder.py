"""Camera that reads a folder of image files."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

from models.image_folder import list_images, read_image_file, why_no_folder
from producers.camera import Capture
from schemas.errors import PluginError
from schemas.text import file_text

_log = logging.getLogger(__name__)

#: A file with a more recent change, in seconds, may still be copied. It is read when it stays the same for a while.
_FRESH_S = 1.0
_SETTLED_S = 0.2
#: Longest wait for one file, in seconds.
_PATIENCE_S = 5.0


class FolderCamera:
    r"""Camera that returns the files of a folder, sorted by name, unchanged.

    Files are not decoded: a file that is damaged, or cannot be read at all, is published like the others, so that the
    line answers it. Files without the suffix of an image, hidden files and files of other tools (``__MACOSX``) are
    skipped, with a log line. The camera waits some seconds for a file that is still being copied. The attribute
    ``file`` is the name; bytes that are not UTF-8 are escaped in it, as in ``gr\xfcn.png``.

    Parameters
    ----------
    directory
        Path of the folder.
    loop
        Begin again at the end, for ever.
    recursive
        Also read sub-folders.

    Raises
    ------
    PluginError
        On opening, if there is no such folder, or no image in it.
    """

    def __init__(self, directory: str | Path, loop: bool = False, recursive: bool = False) -> None:
        self._directory = Path(directory).expanduser()
        self._loop = loop
        self._recursive = recursive
        self._files: list[Path] = []

    def open(self) -> None:
        """List the files."""
        if not self._directory.is_dir():
            if self._directory.exists():
                raise PluginError(f"{self._directory}: {why_no_folder(self._directory)}")
            raise PluginError(f"no folder {self._directory}")
        try:
            found = list_images(self._directory, recursive=self._recursive)
        except OSError as error:
            raise PluginError(f"cannot list {self._directory}: {error.strerror}") from error
        self._files = list(found.images)
        for note in found.notes:
            _log.warning("%s: %s", self._directory, note)
        if not self._files:
            raise PluginError(f"no PNG, JPEG, BMP or TIFF file in {self._directory}{self._hint()}")

    def _hint(self) -> str:
        """Return the end of the error: a sub-folder that has images."""
        below = () if self._recursive else list_images(self._directory).images
        return f", but in its sub-folders: name one, such as {below[0].parent}" if below else ""

    def close(self) -> None:
        """Forget the files."""
        self._files = []

    def __iter__(self) -> Iterator[Capture]:
        if not self._files:
            self.open()
        while True:
            for path in self._files:
                name = file_text(path.relative_to(self._directory).as_posix())
                yield Capture(encoded=_read(path), attributes={"file": name})
            if not self._loop:
                return


def _read(path: Path) -> bytes:
    try:
        _wait_settled(path)
        # The whole file: what is too large for the topic goes to the image store, and may not be cut.
        return read_image_file(path)
    except OSError as error:
        _log.warning("cannot read %s: %s", path, error.strerror)
        return b""


def _wait_settled(path: Path) -> None:
    """Wait while a file is being written, until it has not changed for a moment, or is old."""
    began_s = settled_s = time.monotonic()
    before = path.stat()
    # The age is measured by this machine's clock, the time of the file by another clock: a file time in the future has
    # no age.
    while 0 <= time.time() - before.st_mtime < _FRESH_S and time.monotonic() - settled_s < _SETTLED_S:
        if time.monotonic() - began_s > _PATIENCE_S:
            _log.warning("%s is still being written after %.0f s: read as it is", path, _PATIENCE_S)
            return
        time.sleep(_SETTLED_S / 4)
        now = path.stat()
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            before, settled_s = now, time.monotonic()
