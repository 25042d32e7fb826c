"""Image files of a folder, without the files that people's tools leave there.

Jupyter keeps copies in ``.ipynb_checkpoints``. A Mac writes ``._a.png`` beside ``a.png``, and ``__MACOSX`` into
archives. Storage systems keep thumbnails in ``@eaDir``. These files have the suffix of an image but are not data.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

#: Suffixes of the files that are read, in lower case.
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
_FOLDERS = frozenset(
    {
        "__macosx", "@eadir", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "system volume information",
        "lost+found", "__pycache__",
    }
)  # fmt: skip
_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
#: Files that are still being copied or edited.
_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", ".swp", "~")


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Result of a listing.

    Parameters
    ----------
    images
        Files with the suffix of an image, sorted by path.
    others
        Files without the suffix of an image.
    skipped
        Hidden files, files of other tools, unfinished ones, and what is no regular file: pipes, devices, sockets.
    """

    images: tuple[Path, ...]
    others: tuple[Path, ...] = ()
    skipped: tuple[Path, ...] = ()

    @property
    def note(self) -> str:
        """One line about the skipped files; empty if no file was skipped."""
        if not self.skipped:
            return ""
        count = len(self.skipped)
        files = "1 file that is" if count == 1 else f"{count} files that are"
        return f"skipped {files} hidden, unfinished, of another tool or not regular, such as {self.skipped[0].name}"


def list_images(folder: Path, *, recursive: bool = True) -> ImageFolder:
    """List the image files of a folder.

    Parameters
    ----------
    recursive
        List sub-folders too, at all levels.

    Raises
    ------
    OSError
        If the folder cannot be listed.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.png", "a.PNG", "._a.png", "notes.txt"):
    ...     (folder / name).touch()
    >>> found = list_images(folder)
    >>> [path.name for path in found.images], [path.name for path in found.others]
    (['a.PNG', 'b.png'], ['notes.txt'])
    >>> found.note
    'skipped 1 file that is hidden, unfinished, of another tool or not regular, such as ._a.png'
    """
    images: list[Path] = []
    others: list[Path] = []
    skipped: list[Path] = []
    os.scandir(folder).close()  # glob is silent if it has no permission
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        if path.is_dir():
            continue
        # Reading a pipe or a device never ends.
        is_special = path.exists() and not path.is_file()
        if is_special or not is_data(path.relative_to(folder)):
            skipped.append(path)
        elif path.suffix.lower() in SUFFIXES:
            images.append(path)
        else:
            others.append(path)
    return ImageFolder(tuple(images), tuple(others), tuple(skipped))


def is_data(path: PurePath) -> bool:
    """Return True if a path below a folder is data: not hidden, not of another tool, not unfinished.

    Examples
    --------
    >>> [is_data(PurePath(path)) for path in ("good/a.png", "good/.x/a.png", "__MACOSX/a.png", "a.png.part")]
    [True, False, False, False]
    """
    *folders, name = (part.lower() for part in path.parts)
    return not (
        name.startswith((".", "~$"))
        or name in _FILES
        or name in _FOLDERS
        or name.endswith(_UNFINISHED)
        or any(folder.startswith(".") or folder in _FOLDERS for folder in folders)
    )
