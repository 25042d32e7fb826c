"""Image files of a folder, without the files that people's tools leave there.

Jupyter keeps copies in ``.ipynb_checkpoints``. A Mac writes ``._a.png`` beside ``a.png``, and ``__MACOSX`` into
archives. Storage systems keep thumbnails in ``@eaDir``. These files have the suffix of an image but are not data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from schemas.plain_files import read_plain
from schemas.topics import MAX_STORED_BYTES

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
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst")
#: Reason why an archive is refused in place of images, with what to do.
UNPACK = "an archive; unpack it, and name the directory with the images"
#: Kind of a file in a folder, see `walk_files`.
FileKind = Literal["image", "other", "skipped", "unlisted"]


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
        Hidden files, files of other tools, unfinished ones, links to folders, and what is no regular file: pipes,
        devices, sockets.
    unlisted
        Folders that cannot be listed.
    """

    images: tuple[Path, ...]
    others: tuple[Path, ...] = ()
    skipped: tuple[Path, ...] = ()
    unlisted: tuple[Path, ...] = ()

    @property
    def notes(self) -> list[str]:
        """Lines about what is left out; empty if nothing is."""
        return [
            note(len(found), found[0])
            for note, found in (
                (others_note, self.others), (skipped_note, self.skipped), (unlisted_note, self.unlisted),
            )
            if found
        ]  # fmt: skip


def others_note(count: int, example: Path) -> str:
    """Return one line about files without the suffix of an image."""
    files = "1 file that is no image" if count == 1 else f"{count} files that are no images"
    return f"skipped {files} by the suffix, such as {example.name}"


def unlisted_note(count: int, example: Path) -> str:
    """Return one line about folders that cannot be listed."""
    more = f" and {count - 1} more folders" if count > 1 else ""
    return f"{example}{more} cannot be listed: check the permissions"


def skipped_note(count: int, example: Path) -> str:
    """Return one line about skipped files."""
    files = "1 file that is" if count == 1 else f"{count} files that are"
    return f"skipped {files} hidden, unfinished, of another tool, a link to a folder or not regular: {example.name}"


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
    >>> for note in found.notes:
    ...     print(note)
    skipped 1 file that is no image by the suffix, such as notes.txt
    skipped 1 file that is hidden, unfinished, of another tool, a link to a folder or not regular: ._a.png
    """
    os.scandir(folder).close()  # the walk goes on without a folder that cannot be listed
    found: dict[FileKind, list[Path]] = {"image": [], "other": [], "skipped": [], "unlisted": []}
    for path, kind in walk_files(folder, recursive=recursive):
        found[kind].append(path)
    return ImageFolder(*(tuple(found[kind]) for kind in ("image", "other", "skipped", "unlisted")))


def why_no_folder(path: Path) -> str:
    """Return the reason why a path is no folder, with what to do.

    Examples
    --------
    >>> why_no_folder(Path("/nowhere"))
    'no such directory'
    """
    if not os.path.exists(path):
        return "no such directory"
    return UNPACK if is_archive(path) else "a file, not a directory"


def is_archive(path: PurePath) -> bool:
    """Return True if a file is a packed folder, by its name.

    Examples
    --------
    >>> is_archive(PurePath("lot 7.tar.GZ")), is_archive(PurePath("a.png"))
    (True, False)
    """
    return path.name.lower().endswith(_ARCHIVES)


def walk_files(folder: Path, *, recursive: bool = True) -> Iterator[tuple[Path, FileKind]]:
    """Yield the files of a folder, sorted by path, each with its kind. Memory: the names of one folder a level.

    Links to files are followed, links to folders are not. A link that leads nowhere is yielded as its name says, and
    cannot be read.

    Yields
    ------
    path, kind
        ``image``, ``other`` and ``skipped`` as in `ImageFolder`; ``unlisted`` for a folder that cannot be listed.
    """
    waiting = [_entries(folder)]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
            continue
        path = Path(entry.path)
        if isinstance(entry, _Unlisted):
            yield path, "unlisted"
        elif entry.is_dir(follow_symlinks=False):
            if recursive:
                waiting.append(_entries(path))
        elif not _leads_to_folder(entry):
            yield path, _kind(entry, path.relative_to(folder))
        elif recursive:
            yield path, "skipped"


@dataclass(frozen=True, slots=True)
class _Unlisted:
    path: Path


def _entries(folder: Path) -> Iterator[os.DirEntry[str] | _Unlisted]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        yield _Unlisted(folder)
        return
    yield from found


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into a folder that may not be entered, or to itself
        return False


def _kind(entry: os.DirEntry[str], below: Path) -> FileKind:
    try:
        is_regular = entry.is_file()
    except OSError:
        is_regular = False
    # Reading a pipe or a device never ends. A link that leads nowhere is no such file.
    if (not is_regular and os.path.exists(entry.path)) or not is_data(below):
        return "skipped"
    return "image" if below.suffix.lower() in SUFFIXES else "other"


def read_image_file(path: Path) -> bytes:
    """Return the bytes of an image file that is no larger than the largest image of a line.

    Raises
    ------
    OSError
        If it cannot be read, is no regular file, or is larger.
    """
    return read_plain(path, MAX_STORED_BYTES)


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
