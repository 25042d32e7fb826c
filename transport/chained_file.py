r"""File of JSON lines in a hash chain: a line that was changed or removed is named.

Each line has two fields beside its own::

    "line": 12, "previous": "<SHA-256 of the bytes of the line before, without its line break>"

The first line of a chain has an empty ``previous``, unless lines without a chain stand before it, as earlier versions
wrote them. A line that a full disk has cut is a line as any other: the next one names its hash. Whoever may write the
file can write the whole chain anew; a copy of a hash elsewhere shows that.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.private_files import open_private, sync_folder

#: Bytes at the end of a file in which its last line is looked for, doubled until it is found.
_END_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """End of a chained file: number and hash of its last line; ``is_torn`` if this line has no line break."""

    line: int = 0
    sha256: str = ""
    is_torn: bool = False


@dataclass(frozen=True, slots=True)
class LineFault:
    """Fault of a chained file: number of the line in the file (from 1) that shows it, and what is wrong."""

    at: int
    what: str

    def __str__(self) -> str:
        return f"line {self.at}: {self.what}"


def chain_line(entry: Mapping[str, Any], end: ChainEnd) -> bytes:
    r"""Return the next line of a chain, with its line break.

    Examples
    --------
    >>> chain_line({"part_key": "P-1"}, ChainEnd())
    b'{"part_key": "P-1", "line": 1, "previous": ""}\n'
    """
    return json.dumps({**entry, "line": end.line + 1, "previous": end.sha256}, allow_nan=False).encode() + b"\n"


def end_after(line: bytes, number: int, *, is_torn: bool = False) -> ChainEnd:
    """Return the end of a file whose last line is this one."""
    return ChainEnd(number, hashlib.sha256(line.rstrip(b"\n")).hexdigest(), is_torn)


def end_of_file(path: Path) -> ChainEnd:
    """Return the end of a file; that of an empty chain if it does not exist, is empty, or is a device or a pipe.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    try:
        if not path.is_file():
            return ChainEnd()
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            count = _END_BYTES
            while True:
                file.seek(max(0, size - count))
                tail = file.read()
                body = tail[:-1] if tail.endswith(b"\n") else tail
                if b"\n" in body or count >= size:
                    break
                count *= 2
    except FileNotFoundError:
        return ChainEnd()
    if not body:
        return ChainEnd()
    last = body.rpartition(b"\n")[2]
    fields = _fields(last)
    number = 0 if fields is None else fields[0]
    return end_after(last, number, is_torn=not tail.endswith(b"\n"))


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Append a line to a private file and flush it to the device; the file is made if it does not exist.

    Raises
    ------
    OSError
        If it cannot be written, or as `schemas.private_files.open_private`.
    """
    end = end_of_file(path)
    is_new = not path.exists()
    with os.fdopen(open_private(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
        file.write((b"\n" if end.is_torn else b"") + chain_line(entry, end))
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(path.parent)


def check_lines(lines: Iterable[bytes]) -> Iterator[LineFault]:
    r"""Yield the faults of a chain; lines without a chain before its first line are passed over.

    Parameters
    ----------
    lines
        Lines of a file, with or without their line breaks.

    Examples
    --------
    >>> first = chain_line({"n": 1}, ChainEnd())
    >>> second = chain_line({"n": 2}, end_after(first, 1))
    >>> third = chain_line({"n": 3}, end_after(second, 2))
    >>> list(check_lines([first, second, third]))
    []
    >>> [str(fault) for fault in check_lines([first, third])]
    ['line 2: line 2 of the chain, before this one, was removed']
    >>> [str(fault) for fault in check_lines([first, second.replace(b'2', b'9', 1), third])]
    ['line 2: changed, or not written by the program']
    """
    before, number = None, 0
    for at, raw in enumerate(lines, 1):
        line = raw.rstrip(b"\n")
        digest = hashlib.sha256(line).hexdigest()
        fields = _fields(line)
        if fields is None:
            # A torn line, or one of an earlier version: the next line tells by its hash whether it belongs here.
            number += 1 if number else 0
        else:
            found, previous = fields
            if number and previous != before:
                gap = found - number - 1
                if gap > 0:
                    those = f"line {number + 1}" if gap == 1 else f"lines {number + 1} to {found - 1}"
                    verb = "was" if gap == 1 else "were"
                    yield LineFault(at, f"{those} of the chain, before this one, {verb} removed")
                else:
                    yield LineFault(at - 1, "changed, or not written by the program")
            elif not number and before is not None and previous != before:
                yield LineFault(at - 1, "changed, or lines after it were removed")
            elif not number and before is None and (found != 1 or previous):
                yield LineFault(at, f"the chain begins with its line {found}; the lines before it are not here")
            number = found
        before = digest


def _fields(line: bytes) -> tuple[int, str] | None:
    """Return number and hash of the line before; None if the line is not one of a chain."""
    try:
        found = json.loads(line)
        number, previous = found["line"], found["previous"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_one = type(number) is int and 0 < number < 2**62 and isinstance(previous, str)
    return (number, previous) if is_one else None
