"""Folder of a run over files that is not finished: it lies beside the output, and is deleted with the last row.

::

    rows.parquet.unfinished/plan.json    model and arguments; written when the list is complete
    rows.parquet.unfinished/paths        paths of all files, each with a NUL behind it
    rows.parquet.unfinished/rows.jsonl   a line for each inspected file, in the order of the paths

The number of lines is the progress. After a kill or a power cut, lines from the first one on that is not the whole row
of its path are cut off and made again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from replay.predict.rows import FileRow
from schemas.errors import InspectionError, SettingsError
from schemas.private_files import lock_private, make_private_folder, open_private, read_private, replace_private
from schemas.text import file_text

FORMAT = 1
_PLAN, _PATHS, _ROWS, _LOCK = "plan.json", "paths", "rows.jsonl", ".lock"
_BLOCK_BYTES = 1024 * 1024
#: Seconds between two writes to the device: the most work that a power cut can cost. A kill costs the files in work.
SYNC_S = 5.0


class UnfinishedRunError(InspectionError):
    """Unfinished run that cannot be continued: damaged, of other arguments, or in use."""


class UnfinishedRun:
    """Unfinished run of an output file. Use it within `lock`.

    Parameters
    ----------
    out
        Output file.
    """

    def __init__(self, out: Path) -> None:
        self.path = out.with_name(f"{out.name[:200]}.unfinished")
        self.plan: Mapping[str, Any] = {}
        self.count = 0
        self._rows = self.path / _ROWS

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder, and prevent other processes from using it.

        Raises
        ------
        SettingsError
            If the folder cannot be made.
        UnfinishedRunError
            If another process uses it.
        """
        try:
            make_private_folder(self.path)
            locked = lock_private(self.path / _LOCK)
        except OSError as error:
            raise SettingsError(f"{self.path}: {error.strerror or error}") from error
        if locked is None:
            raise UnfinishedRunError(f"{self.path}: another process is at work on this run")
        with locked:
            yield

    @property
    def exists(self) -> bool:
        """True if a run was begun; without its plan not even the list of files was complete."""
        return (self.path / _PLAN).exists()

    def begin(self, plan: Mapping[str, Any], paths: Iterable[Path]) -> None:
        """Write the list of files, then the plan.

        Raises
        ------
        SettingsError
            If they cannot be written.
        """
        try:
            (self.path / _PLAN).unlink(missing_ok=True)
            count = 0
            with self._open(_PATHS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "wb") as file:
                for path in paths:
                    file.write(os.fsencode(path) + b"\0")
                    count += 1
                file.flush()
                os.fsync(file.fileno())
            self._open(_ROWS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "wb").close()
            self.plan = {"format": FORMAT, **plan, "count": count}
            self.count = count
            replace_private(self.path / _PLAN, json.dumps(self.plan, indent=2).encode())
        except OSError as error:
            raise SettingsError(f"{self.path}: {error.strerror or error}") from error

    def resume(self, plan: Mapping[str, Any]) -> int:
        """Read the run, cut off damaged lines, and return the number of rows that are there.

        Raises
        ------
        UnfinishedRunError
            If it is damaged, or was begun with another plan.
        """
        hint = f"delete {self.path} to begin a new run"
        try:
            found = json.loads(read_private(self.path / _PLAN))
            self.count = int(found["count"])
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']!r}")
        except (OSError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise UnfinishedRunError(f"{self.path / _PLAN} is damaged ({error}): {hint}") from error
        for name, value in plan.items():
            if found.get(name) != value:
                raise UnfinishedRunError(
                    f"{self.path}: the run was begun with {_with_value(name, found.get(name))}, not with "
                    f"{_with_value(name, value)}: {hint}"
                )
        self.plan = found
        try:
            return self._cut()
        except OSError as error:
            raise UnfinishedRunError(f"{self.path}: {error.strerror or error}: {hint}") from error

    def paths(self, begin: int = 0) -> Iterator[str]:
        """Yield the paths from a number on."""
        with self._open(_PATHS, os.O_RDONLY, "rb") as file:
            yield from islice(_split(file), begin, None)

    def rows(self) -> Iterator[FileRow]:
        """Yield the rows."""
        with self._open(_ROWS, os.O_RDONLY, "rb") as file:
            for line in file:
                yield FileRow.loads(line)

    def append(self, lines: Iterable[bytes]) -> Iterator[int]:
        """Append the rows of the next paths as they come; yield their number so far.

        Raises
        ------
        SettingsError
            If they cannot be written; the rows before are kept.
        """
        synced_s = time.monotonic()
        done = 0
        try:
            with self._open(_ROWS, os.O_WRONLY | os.O_APPEND, "ab") as file:
                try:
                    for line in lines:
                        file.write(line)
                        done += 1
                        if time.monotonic() - synced_s >= SYNC_S:
                            file.flush()
                            os.fsync(file.fileno())
                            synced_s = time.monotonic()
                        yield done
                finally:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise SettingsError(f"{self._rows}: {error.strerror or error}") from error

    def delete(self) -> None:
        """Delete the folder, its plan first: then it is no run any more, whatever is left."""
        for name in (_PLAN, _ROWS, _PATHS, _LOCK):
            (self.path / name).unlink(missing_ok=True)
        self.path.rmdir()

    def _cut(self) -> int:
        done, size = 0, 0
        paths = self.paths()
        with self._open(_ROWS, os.O_RDWR | os.O_CREAT, "r+b") as file:
            for line in file:
                try:
                    row = FileRow.loads(line)
                except ValueError:
                    break
                path = next(paths, None)
                if path is None or row.path != file_text(path):
                    break
                done, size = done + 1, size + len(line)
            file.truncate(size)
        return done

    def _open(self, name: str, flags: int, mode: str) -> Any:
        return os.fdopen(open_private(self.path / name, flags), mode)


def _split(file: Any) -> Iterator[str]:
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        *whole, rest = (rest + block).split(b"\0")
        yield from map(os.fsdecode, whole)


def _with_value(name: str, value: object) -> str:
    return f"{name} {json.dumps(value)[:300]}"
