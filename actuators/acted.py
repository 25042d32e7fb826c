"""Which parts were acted on, on file: a gate that starts again repeats none, whoever reports them once more."""

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
    """The last acts of a gate, in ``<state_dir>/gate.acted.jsonl``: a line is there **before** its part is acted on.

    So whatever kills the process, an act can be lost (the idle position of the hardware is the safe one), and none
    is repeated. Lines are with the system at once but flushed to the device only now and then: a power cut may
    take the last seconds, in which case those parts are long past the gate.

    Parameters
    ----------
    limit
        How many are remembered; the file holds up to twice as many.

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
        #: Acts that could not be put on file.
        self.errors = 0

    def open(self) -> list[tuple[Acted, int]]:
        """Read what a former run did: part and capture (UTC µs), oldest first.

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
        """Write down a part that is about to be acted on; False, and counted, if that is impossible."""
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
        """Flush to the device and close; may be called again."""
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
        """Keep only the recent ones, and go on appending to the new file."""
        replace_private(self.path, b"".join(_line(*entry) for entry in self._recent), sync=False)
        new = open_private(self.path, os.O_WRONLY | os.O_APPEND)
        if self._file is not None:
            os.close(self._file)
        self._file, self._lines = new, len(self._recent)


def _line(key: Acted, captured_at_us: int) -> bytes:
    # The line break goes first: a line that broke off spoils none that follows.
    return b"\n" + json.dumps([*key, captured_at_us]).encode()


def _parse(line: str) -> tuple[Acted, int] | None:
    try:
        station, camera_id, part_key, captured_at_us = json.loads(line)
        return (str(station), str(camera_id), str(part_key)), int(captured_at_us)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None  # it broke off: its part was not acted on
