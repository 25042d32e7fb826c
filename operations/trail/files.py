"""Check of the chained files of a gate: its journal, and its resets (`transport.chained_file`)."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import SettingsError
from schemas.text import shown
from transport.audit_chain import ChainPoint
from transport.chained_file import LineFault, check_lines

#: Longest line that is read, in bytes; a gate writes some thousand at most.
_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileCheck:
    """Result of a check.

    Parameters
    ----------
    head
        Number and SHA-256 of the last line, as ``COUNT:SHA256``; empty without a line.
    is_head_lost
        True if no line has the head that was expected.
    """

    lines: int
    faults: tuple[LineFault, ...]
    head: str
    is_head_lost: bool


def check_files(files: Sequence[Path], expected: ChainPoint | None = None) -> FileCheck:
    """Check the hash chain of a file, or of its parts, older ones first.

    Parameters
    ----------
    expected
        Head of an earlier check. Its hash decides, because a rotation changes the number.

    Raises
    ------
    SettingsError
        If a file cannot be read.
    """
    count, digest, is_head_lost = 0, "", expected is not None

    def lines() -> Iterator[bytes]:
        nonlocal count, digest, is_head_lost
        for line in _read(files):
            count, digest = count + 1, hashlib.sha256(line.rstrip(b"\n")).hexdigest()
            is_head_lost = is_head_lost and expected is not None and digest != expected.sha256
            yield line

    faults = tuple(check_lines(lines()))
    return FileCheck(count, faults, f"{count}:{digest}" if count else "", is_head_lost)


def _read(files: Sequence[Path]) -> Iterator[bytes]:
    for path in files:
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):  # a pipe is what a shell makes for <(command)
                    raise SettingsError(f"{shown(path)}: it is no file")
                while line := file.readline(_MOST_BYTES + 1):
                    if len(line) > _MOST_BYTES:
                        raise SettingsError(f"{shown(path)}: it has a line of more than 1 MiB, which no gate writes")
                    yield line
        except OSError as error:
            raise SettingsError(f"{shown(path)}: {error.strerror}") from error
