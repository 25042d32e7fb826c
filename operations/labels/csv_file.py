"""Labels from a CSV file of a spreadsheet or a test station."""

from __future__ import annotations

import csv
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from monitoring.quality.label_sheet import COLUMNS, FILE, SHOWN
from operations.labels.make import LabelError, make_label
from schemas.errors import SettingsError
from schemas.moments import AmbiguousTime, utc_us_of
from schemas.records import Label
from transport.csv_guard import unguarded


class LabelFileError(LabelError):
    """Row of a file that is not a valid label; the message names file, line and column."""


def labels_from_csv(
    path: Path,
    *,
    labelled_by: str = "",
    sampled_because: str = "",
    line: str = "",
    on_bad: Callable[[LabelFileError], object] | None = None,
    on_blank: Callable[[], object] = lambda: None,
) -> Iterator[Label]:
    """Read the labels of a file, row by row.

    The first row names the columns: those of `COLUMNS`, `SHOWN` and `FILE`, in any order, separated by comma or
    semicolon. ``truth`` and ``frame_id`` or ``part_id`` are needed. A row without a truth is not labelled yet, and is
    skipped. ``labelled_at`` is an ISO 8601 time, by default in this machine's zone; a local time that the clocks show
    twice or never is refused. An empty ``labelled_at`` stands for the time of the last change of the file, so that a
    file read twice makes the same labels.

    Parameters
    ----------
    labelled_by, sampled_because
        Values for rows without their own value.
    on_bad
        Called with the error of each bad row, which is then left out; None to raise the first error.
    on_blank
        Called for each row without a truth.

    Raises
    ------
    SettingsError
        If the file cannot be read.
    LabelFileError
        If its first row does not name the columns; and see ``on_bad``.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SettingsError(f"{path} is not a regular file: it is read twice; write it to a file first")
        changed_us = status.st_mtime_ns // 1000
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = _reader(path, file.readline())
            rows = csv.reader(file, delimiter=reader[1], strict=True)
            for number, row in _numbered(path, rows):
                values = dict(zip(reader[0], (unguarded(text.strip()) for text in row), strict=False))
                if not any(values.values()):
                    continue
                try:
                    if len(row) > len(reader[0]):
                        raise LabelError(f"{len(row)} values for {len(reader[0])} columns")
                    if not values.get("truth"):
                        on_blank()
                        continue
                    label = make_label(
                        values["truth"],
                        labelled_at_us=_time_us(values.get("labelled_at", ""), changed_us),
                        labelled_by=values.get("labelled_by") or labelled_by,
                        sampled_because=values.get("sampled_because") or sampled_because,
                        frame_id=values.get("frame_id") or None,
                        part_id=values.get("part_id") or None,
                        station=values.get("station") or None,
                        camera_id=values.get("camera_id") or None,
                        defect=values.get("defect") or None,
                        note=values.get("note", ""),
                        line=line,
                    )
                except LabelError as error:
                    found = LabelFileError(f"{path}, line {number}: {error}")
                    if on_bad is None:
                        raise found from None
                    on_bad(found)
                    continue
                yield label
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise LabelFileError(f"{path}: is not UTF-8 text; save it as CSV UTF-8") from None


def _reader(path: Path, first: str) -> tuple[list[str], str]:
    """Return the names of the columns, and their separator."""
    delimiter = ";" if first.count(";") > first.count(",") else ","
    try:
        names = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
    except csv.Error as error:
        raise LabelFileError(f"{path}, line 1: the names of the columns cannot be read: {error}") from None
    known = ", ".join(COLUMNS)
    for name in names:
        if name not in (*COLUMNS, *SHOWN, FILE):
            raise LabelFileError(f"{path}, line 1: column {name[:40]!r} is not known; the columns are {known}")
        if names.count(name) > 1:
            raise LabelFileError(f"{path}, line 1: column {name} is there twice")
    for wanted in ({"truth"}, {"frame_id", "part_id"}):
        if not wanted & set(names):
            raise LabelFileError(f"{path}, line 1: no column {' or '.join(sorted(wanted))}; the columns are {known}")
    return names, delimiter


def _numbered(path: Path, rows: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of the line on which it begins."""
    line = 2
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            # After a broken quote no further text can be trusted.
            raise LabelFileError(f"{path}, line {line}: {error}") from None
        yield line, row
        line = 2 + rows.line_num  # type: ignore[attr-defined]


def _time_us(text: str, otherwise_us: int) -> int:
    if not text:
        return otherwise_us
    try:
        return utc_us_of(text)
    except AmbiguousTime as error:
        raise LabelError(f"labelled_at {text[:40]!r}: {error}") from None
    except ValueError:
        raise LabelError(f"labelled_at {text[:40]!r}: a time as in 2026-11-24T06:00 or 2026-11-24T06:00:00Z") from None
