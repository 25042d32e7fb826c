"""File system of an archive. Every error in it becomes an `ArchiveError` of one line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from replay.archive.commits import FORMAT, check_format
from replay.archive.errors import ArchiveError
from replay.archive.layout import ARCHIVE_FILE
from schemas.addresses import masked_address
from schemas.errors import InspectionError
from transport.store_files import Bounds, error_code, open_files, read, read_all, remove, store_error_line, tree, write

#: The production line does not wait for an archive, and a data file may go over a slow link.
_BOUNDS = Bounds(connect_s=5.0, silence_s=20.0, attempts=3, slowest_bytes_per_s=500_000)
_AT_ONCE = 500
#: Answers of S3 to a request for bytes after the end of an object.
_BEHIND_THE_END = ("InvalidRange", "416")


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """File in a listing; ``modified_us`` can be None, if the file system does not report it."""

    size_bytes: int
    modified_us: int | None


class ArchiveStore:
    """Files below a URI, by their relative path.

    Parameters
    ----------
    uri
        A directory, or an fsspec URI such as ``s3://bucket/archive``.
    options
        Options of the file system, such as ``endpoint_url``.

    Raises
    ------
    SettingsError
        If there is no such file system, or its package is not installed.

    Examples
    --------
    >>> store = ArchiveStore("memory://doctest-archive")
    >>> store.is_archive()
    False
    >>> store.write("a/b", b"data")
    >>> store.read("a/b", 1, 2), list(store.find("a"))
    (b'at', ['a/b'])
    """

    def __init__(self, uri: str, **options: Any) -> None:
        self._files, self._root = open_files(uri, options, what="archive", bounds=_BOUNDS)
        self._address = uri
        #: URI for messages, without user and password.
        self.uri = masked_address(uri, with_path=True)

    def is_archive(self) -> bool:
        """Return True if there is an archive in a format that this program knows.

        Raises
        ------
        ArchiveError
            If the archive is of a later format or damaged, or if the store does not answer.
        """
        with self._line(f"{ARCHIVE_FILE} cannot be read"):
            try:
                data = read(self._files, self._path(ARCHIVE_FILE), 10_000, bounds=_BOUNDS)
            except FileNotFoundError as error:
                if error_code(error) == "NoSuchBucket":
                    raise
                return False
        try:
            check_format(json.loads(data)["format"], f"{self.uri}/{ARCHIVE_FILE}")
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise ArchiveError(
                f'{self.uri}/{ARCHIVE_FILE} is no description of an archive: {error}; it should say {{"format": 1}}'
            ) from error
        return True

    def make_archive(self) -> None:
        """Write the description of an empty archive."""
        self.write(ARCHIVE_FILE, json.dumps({"format": FORMAT, "by": "streaming-inspection"}).encode())

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file; in a directory the file is synced to disk when this returns."""
        with self._line(f"{path} cannot be written"):
            write(self._files, self._path(path), data, _BOUNDS)

    def read(self, path: str, start: int, size_bytes: int) -> bytes:
        """Read bytes of a file; return fewer if the file ends before.

        Raises
        ------
        ArchiveError
            If the file cannot be read.
        FileNotFoundError
            If the file does not exist.
        """
        with self._line(f"{path} cannot be read", may_miss=True):
            try:
                return read(self._files, self._path(path), size_bytes, start=start, bounds=_BOUNDS)
            except OSError as error:
                if error_code(error) in _BEHIND_THE_END:
                    return b""
                raise

    def read_small(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read small files, many at once; yield None for files that do not exist."""
        for at in range(0, len(paths), _AT_ONCE):
            some = {self._path(path): path for path in paths[at : at + _AT_ONCE]}
            with self._line("commits cannot be read"):
                found = read_all(self._files, list(some), _BOUNDS)
                for full, path in some.items():
                    data = found[full]
                    if isinstance(data, bytes):
                        yield path, data
                    elif isinstance(data, FileNotFoundError) and error_code(data) != "NoSuchBucket":
                        yield path, None
                    else:
                        raise data

    def find(self, folder: str) -> dict[str, ArchiveEntry]:
        """Return all files below a folder; an empty dict if there is no such folder."""
        with self._line(f"{folder or 'it'} cannot be listed"):
            try:
                found = tree(self._files, self._path(folder))
            except FileNotFoundError as error:
                if error_code(error) == "NoSuchBucket":
                    raise
                found = {}
        return {
            path[len(self._root) + 1 :]: ArchiveEntry(int(info.get("size") or 0), _modified_us(info))
            for path, info in sorted(found.items())
        }

    def remove(self, path: str) -> None:
        """Delete a file. Idempotent: the file may be gone already."""
        with self._line(f"{path} cannot be deleted"):
            try:
                remove(self._files, self._path(path), _BOUNDS)
            except FileNotFoundError:
                return

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    @contextmanager
    def _line(self, what: str, *, may_miss: bool = False) -> Iterator[None]:
        try:
            yield
        except InspectionError:
            raise
        except Exception as error:  # every file system of fsspec has errors of its own
            if may_miss and isinstance(error, FileNotFoundError) and error_code(error) != "NoSuchBucket":
                raise
            raise ArchiveError(f"archive {self.uri}: {what}: {store_error_line(error, self._address)}") from error


def _modified_us(info: dict[str, Any]) -> int | None:
    # The name of the field depends on the file system: mtime for a directory, LastModified for S3, created for memory.
    for name in ("mtime", "LastModified", "last_modified", "created"):
        found = info.get(name)
        if isinstance(found, datetime):
            return round(found.timestamp() * 1e6)
        if isinstance(found, int | float):
            return round(found * 1e6)
    return None
