"""Image files that a command names: folders, files and patterns, as one list without repetitions."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.image_folder import UNPACK, is_archive, others_note, skipped_note, unlisted_note, walk_files
from schemas.errors import SettingsError


@dataclass(slots=True)
class ListingCounts:
    """Counts of the files that a listing leaves out, each with an example.

    Parameters
    ----------
    others
        Files in folders without the suffix of an image.
    skipped
        Hidden files, files of other tools, unfinished ones, pipes and devices in folders.
    repeated
        Files that several arguments name.
    unlisted
        Folders that cannot be listed.
    """

    others: int = 0
    skipped: int = 0
    repeated: int = 0
    unlisted: int = 0
    other: Path | None = None
    skip: Path | None = None
    closed: Path | None = None

    def lines(self) -> list[str]:
        """Return the counts as lines for a person."""
        lines = []
        if self.other is not None:
            lines.append(others_note(self.others, self.other))
        if self.skip is not None:
            lines.append(skipped_note(self.skipped, self.skip))
        if self.repeated:
            lines.append(f"{self.repeated} files were named more than once; each has one row")
        if self.closed is not None:
            lines.append(unlisted_note(self.unlisted, self.closed))
        return lines


def list_files(arguments: Sequence[str], counts: ListingCounts) -> Iterator[Path]:
    """Yield the files that arguments name, in their order, each once.

    A folder stands for its image files at all levels, see `models.image_folder.walk_files`. A file stands for itself,
    whatever its suffix is. Any other text is a pattern; ``**`` in it stands for all levels of folders.

    Parameters
    ----------
    counts
        Receives the counts of the files that are left out.

    Raises
    ------
    SettingsError
        If an argument names nothing, or an archive.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.png", "b.jpg", "notes.txt"):
    ...     (folder / name).touch()
    >>> counts = ListingCounts()
    >>> found = list(list_files([str(folder), f"{folder}/*.png"], counts))
    >>> [path.name for path in found], counts.others, counts.repeated
    (['a.png', 'b.jpg'], 1, 1)
    """
    seen: set[bytes] = set()
    is_single = len(arguments) == 1 and os.path.isdir(arguments[0])
    for argument in arguments:
        for path in _of_argument(argument, counts):
            if not is_single:  # the walk of one folder repeats nothing
                # The digest of a long path is shorter than the path.
                key = hashlib.blake2b(os.fsencode(os.path.abspath(path)), digest_size=16).digest()
                if key in seen:
                    counts.repeated += 1
                    continue
                seen.add(key)
            yield path


def _of_argument(argument: str, counts: ListingCounts) -> Iterator[Path]:
    if os.path.lexists(argument):
        if is_archive(Path(argument)) and not os.path.isdir(argument):
            raise SettingsError(f"{argument}: {UNPACK}")
        yield from _of_path(Path(argument), counts)
        return
    if not glob.has_magic(argument):
        raise SettingsError(f"{argument}: no such file or directory")
    is_empty = True
    for found in sorted(glob.iglob(argument, recursive=True)):
        is_empty = False
        # A folder that `**` finds is walked once, from its top: its files would only be counted as repeated.
        if not ("**" in argument and os.path.isdir(found)):
            yield from _of_path(Path(found), counts)
    if is_empty:
        raise SettingsError(f"{argument}: no file matches this pattern")


def _of_path(path: Path, counts: ListingCounts) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for found, kind in walk_files(path):
        if kind == "image":
            yield found
        elif kind == "other":
            counts.others += 1
            counts.other = counts.other or found
        elif kind == "skipped":
            counts.skipped += 1
            counts.skip = counts.skip or found
        else:
            counts.unlisted += 1
            counts.closed = counts.closed or found
