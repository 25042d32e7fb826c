"""Record, on file, of the parts that a gate has acted on: after a restart it acts on none of them again."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from pathlib import Path

from schemas.errors import SettingsError
from schemas.private_files import open_private, read_private, replace_private

log = logging.getLogger(__name__)

#: Station, camera, part.
Acted = tuple[str, str, str]


class ActedLog:
    """Last acts of a gate, in ``<state_dir>/gate.acted.jsonl``. Each line is written **before** the gate acts.

    Whatever kills the process, an act can therefore be lost (the idle position of the hardware is the safe one), but
    no act is repeated. Each line is passed to the operating system at once, but flushed to the device only now and
    then. A power cut may lose the lines of the last seconds; those parts are long past the gate by then.

    Parameters
    ----------
    limit
        Number of acts that are remembered; the file holds up to twice as many.

    Examples
    --------
    >>> import tempfile
    >>> directory = Path(tempfile.mkdtemp())
    >>> acted = ActedLog(directory)
    >>> acted.open()
    []
    >>> acted.add(("press-1", "top", "p1"), 1_000_000)
    True
    >>> acted.close()
    >>> acted.open()
    [(('press-1', 'top', 'p1'), 1000000)]
    >>> acted.close()
    """

    def __init__(self, state_dir: Path, limit: int = 4096) -> None:
        self.path = state_dir / "gate.acted.jsonl"
        self._limit = limit
        self._recent: deque[tuple[Acted, int]] = deque(maxlen=limit)
        self._lines = 0
        self._file: int | None = None
        self._failing = False
        #: Number of acts that could not be put on file.
        self.errors = 0

    def open(self) -> list[tuple[Acted, int]]:
        """Read the acts of the former run and return them: part and time of capture (UTC µs), oldest first.

        Raises
        ------
        SettingsError
            If the file cannot be read or written.
        """
        self._recent.clear()
        try:
            for line in self._read().splitlines():
                found = _parse(line)
                if found is not None:
                    self._recent.append(found)
            self._rewrite()
        except OSError as error:
            raise SettingsError(f"cannot use {self.path}: {error.strerror or error}") from error
        return list(self._recent)

    def add(self, key: Acted, captured_at_us: int) -> bool:
        """Record a part before the gate acts on it; if that fails, count the error and return False."""
        self._recent.append((key, captured_at_us))
        try:
            if self._file is None:
                raise OSError("not open")
            line = _line(key, captured_at_us)
            if os.write(self._file, line) != len(line):
                raise OSError("disk full")
            self._lines += 1
            if self._lines >= 2 * self._limit:
                self._rewrite()
        except OSError as error:
            self.errors += 1
            if not self._failing:
                log.error("%s: %s; the gate goes on without it", self.path, error.strerror or error)
            self._failing = True
            return False
        self._failing = False
        return True

    def close(self) -> None:
        """Flush the file to the device and close it. Idempotent."""
        if self._file is None:
            return
        try:
            os.fsync(self._file)
        except OSError as error:
            log.error("%s: %s", self.path, error.strerror or error)
        os.close(self._file)
        self._file = None

    def _read(self) -> str:
        try:
            return read_private(self.path).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _rewrite(self) -> None:
        """Write a new file with the remembered acts only, and append to it from now on."""
        replace_private(self.path, b"".join(_line(*entry) for entry in self._recent), sync=False)
        new = open_private(self.path, os.O_WRONLY | os.O_APPEND)
        if self._file is not None:
            os.close(self._file)
        self._file, self._lines = new, len(self._recent)


def _line(key: Acted, captured_at_us: int) -> bytes:
    # The line break comes first: a truncated line then does not spoil the next one.
    return b"\n" + json.dumps([*key, captured_at_us]).encode()


def _parse(line: str) -> tuple[Acted, int] | None:
    try:
        station, camera_id, part_key, captured_at_us = json.loads(line)
        return (str(station), str(camera_id), str(part_key)), int(captured_at_us)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None  # the line is truncated: the gate did not act on its part
