"""Files of rows: Parquet for programs, CSV for everybody, JSON lines for scripts."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from replay.analysis.table import DEFECTIVE, UNKNOWN, Column, Table
from replay.export.arrow import DECIDERS, arrow_columns, exported, is_time, pyarrow
from schemas.errors import SettingsError
from schemas.json_text import json_text
from schemas.moments import time_of
from schemas.plain_files import check_output_file
from schemas.private_files import open_new, sync_folder
from schemas.text import shown
from transport.csv_guard import WRITER, guarded

#: Accepted suffixes of a file.
SUFFIXES = (".parquet", ".csv", ".jsonl")
_TEXT_ROWS = 10_000


def write_rows(path: Path, table: Table) -> None:
    """Write a table to a file; see `write_columns`. It has the columns of `to_arrow`."""
    write_columns(path, [exported(table)], {DECIDERS: json.dumps(table.deciders)})


def write_columns(
    path: Path, batches: Iterable[Mapping[str, Column]], metadata: Mapping[bytes, str] | None = None
) -> int:
    """Write rows to a ``.parquet``, ``.csv`` or ``.jsonl`` file, which appears only when it is complete.

    Memory: one batch. CSV: UTF-8, comma, CRLF (RFC 4180), times in ISO 8601 UTC, ``true`` and
    ``false``, an empty cell for an unknown value. A text that a spreadsheet would run gets an apostrophe in front.
    Characters that a terminal would act on become escapes, as in `schemas.text.shown`. Parquet has all texts unchanged.
    JSON lines: one object a row, in ASCII, null for an unknown value.

    Parameters
    ----------
    batches
        Columns of one length, at least one batch; all batches have the same names and types.
    metadata
        Metadata of the schema of a Parquet file.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    SettingsError
        If the suffix is another one, the file cannot be written, or it is Parquet and pyarrow is not installed.
    """
    with new_file(path) as temporary:
        if path.suffix == ".parquet":
            return _write_parquet(temporary, batches, metadata)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            return (_write_csv if path.suffix == ".csv" else _write_json_lines)(file, batches)


def check_suffix(path: Path) -> None:
    """Refuse a file with a suffix that is not one of `SUFFIXES`."""
    if path.suffix not in SUFFIXES:
        raise SettingsError(f"{path}: rows are written to a file that ends with {' or '.join(SUFFIXES)}")


def check_file(path: Path) -> None:
    """Refuse, before any reading, a file that could not be written at the end.

    Raises
    ------
    SettingsError
        If the suffix is not accepted, the folder does not exist, a folder or a device is there, or it is Parquet and
        pyarrow is not installed.
    """
    check_suffix(path)
    if not path.parent.is_dir():
        raise SettingsError(f"{path}: {path.parent} is no folder")
    check_output_file(path)
    if path.suffix == ".parquet":
        pyarrow()


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside the target, which gets the target's name at the end; delete it after an error."""
    check_suffix(path)
    temporary: Path | None = None
    try:
        handle, temporary = open_new(path.parent, f".{path.name[:100]}.", ".part")
        try:
            yield temporary
            os.fsync(handle)
        finally:
            os.close(handle)
        check_output_file(path)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _write_parquet(file: Path, batches: Iterable[Mapping[str, Column]], metadata: Mapping[bytes, str] | None) -> int:
    pyarrow()
    from pyarrow import parquet

    tables = (arrow_columns(columns, metadata) for columns in batches)
    first = next(tables)
    count = int(first.num_rows)
    with parquet.ParquetWriter(file, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
            count += table.num_rows
    return count


def _write_csv(file: Any, batches: Iterable[Mapping[str, Column]]) -> int:
    writer = csv.writer(file, **WRITER)
    count = 0
    for number, columns in enumerate(batches):
        if number == 0:
            writer.writerow(map(_cell, columns))
        for values in _rows(columns, _texts):
            writer.writerow(values)
            count += 1
    return count


def _write_json_lines(file: Any, batches: Iterable[Mapping[str, Column]]) -> int:
    count = 0
    for columns in batches:
        for values in _rows(columns, _values):
            file.write(json_text(dict(zip(columns, values, strict=True))) + "\n")
            count += 1
    return count


def _rows(columns: Mapping[str, Column], convert: Callable[[str, Column], Iterable[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows, converted some thousands at a time."""
    count = len(next(iter(columns.values()))) if columns else 0
    for begin in range(0, count, _TEXT_ROWS):
        part = slice(begin, begin + _TEXT_ROWS)
        yield from zip(*(convert(name, column[part]) for name, column in columns.items()), strict=True)


def _cell(text: str) -> str:
    """Return a text for a file that people print to a terminal, and open in a spreadsheet."""
    return guarded(shown(text, None))


def _texts(name: str, column: Column) -> list[str]:
    if column.dtype == np.int8:
        return ["" if value == UNKNOWN else "true" if value == DEFECTIVE else "false" for value in column]
    if is_time(name, column):
        return [iso(int(value)) for value in column]
    if column.dtype == object:
        return ["" if value is None else _cell(value) for value in column]
    return ["" if value != value else repr(value) for value in column.tolist()]


def _values(name: str, column: Column) -> list[Any]:
    """Return the values of a column for JSON, in which NaN is null."""
    if column.dtype == np.int8:
        return [None if value == UNKNOWN else bool(value == DEFECTIVE) for value in column]
    if is_time(name, column):
        return [iso(int(value)) for value in column]
    return list(column.tolist())


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
