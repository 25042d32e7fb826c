"""Files of rows: Parquet for programs, CSV for everybody."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from replay.analysis.table import DEFECTIVE, UNKNOWN, Column, Table
from replay.export.arrow import pyarrow, to_arrow
from schemas.errors import SettingsError
from schemas.moments import time_of
from schemas.private_files import open_new
from schemas.text import shown
from transport.csv_guard import WRITER, guarded

#: Accepted suffixes of a file.
SUFFIXES = (".parquet", ".csv")
_CSV_ROWS = 10_000


def write_rows(path: Path, table: Table) -> None:
    """Write a table to a ``.parquet`` or a ``.csv`` file, which appears only when it is complete.

    Both have the columns of `to_arrow`. CSV: UTF-8, comma, CRLF (RFC 4180), times in ISO 8601 UTC, ``true`` and
    ``false``, an empty cell for an unknown value. A text that a spreadsheet would run gets an apostrophe in front.
    Characters that a terminal would act on become escapes, as in `schemas.text.shown`. Parquet has all texts unchanged.

    Raises
    ------
    SettingsError
        If the suffix is neither of them, the file cannot be written, or it is Parquet and pyarrow is not installed.
    """
    with new_file(path) as temporary:
        if path.suffix == ".csv":
            with temporary.open("w", encoding="utf-8", newline="") as file:
                _write_csv(file, table)
        else:
            pyarrow()
            from pyarrow import parquet

            parquet.write_table(to_arrow(table), temporary)


def check_suffix(path: Path) -> None:
    """Refuse a file with a suffix that is not one of `SUFFIXES`."""
    if path.suffix not in SUFFIXES:
        raise SettingsError(f"{path}: rows are written to a file that ends with {' or '.join(SUFFIXES)}")


def check_file(path: Path) -> None:
    """Refuse, before any reading, a file that could not be written at the end.

    Raises
    ------
    SettingsError
        If the suffix is not accepted, the folder does not exist, or it is Parquet and pyarrow is not installed.
    """
    check_suffix(path)
    if not path.parent.is_dir():
        raise SettingsError(f"{path}: {path.parent} is no folder")
    if path.suffix == ".parquet":
        pyarrow()


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside the target, which gets the target's name at the end; delete it after an error."""
    check_suffix(path)
    temporary: Path | None = None
    try:
        handle, temporary = open_new(path.parent, f".{path.name[:100]}.", ".part")
        os.close(handle)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _write_csv(file: Any, table: Table) -> None:
    writer = csv.writer(file, **WRITER)
    writer.writerow(_cell("is_defective" if name == "truth" else name) for name in table.columns)
    for begin in range(0, len(table), _CSV_ROWS):
        part = slice(begin, begin + _CSV_ROWS)
        columns = [_texts(name, column[part]) for name, column in table.columns.items()]
        writer.writerows(zip(*columns, strict=True))


def _cell(text: str) -> str:
    """Return a text for a file that people print to a terminal, and open in a spreadsheet."""
    return guarded(shown(text, None))


def _texts(name: str, column: Column) -> list[str]:
    if column.dtype == np.int8:
        return ["" if value == UNKNOWN else "true" if value == DEFECTIVE else "false" for value in column]
    if name.endswith("_at_us") or name == "timestamp_us":
        return [iso(int(value)) for value in column]
    if column.dtype == object:
        return ["" if value is None else _cell(value) for value in column]
    return ["" if value != value else repr(value) for value in column.tolist()]


def iso(at_us: int) -> str:
    """Return a time of a record in ISO 8601, UTC, to the microsecond.

    Examples
    --------
    >>> iso(1_700_000_000_000_001), iso(2**63)
    ('2023-11-14T22:13:20.000001+00:00', '9223372036854775808')
    """
    # A record may have any 64-bit time; a time outside the calendar is shown as a number.
    found = time_of(at_us)
    return str(at_us) if found is None else found.isoformat(timespec="microseconds")
