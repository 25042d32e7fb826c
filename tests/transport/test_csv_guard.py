"""CSV files: no cell is a formula, whatever separator the reader uses, and each text is read back."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.labels.csv_file import labels_from_csv
from schemas.part_ids import real_part_id
from transport.csv_guard import WRITER, guarded, unguarded

RISKY = "=+-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u2212"
DROPPED = ' \t\r\n"\x00\u2003\u200b\u202f\u3000\ufeff'
HOSTILE = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "x;=cmd|' /C calc'!A0", "x|=1", "x\t=1", "x\n=1", "x\r\n=1",
    "x; =1", "x;;=1", "x;\t=1", "\uff1d1", "x;\uff1d1", "x\u2028=1", "x\x85=1", "'=1", "x;'=1", 'x;"=1',
    'x";=1', 'a;" "=1', "\x00=1", "\ufeff=1", "x;\u200b=1", "\u3000=1", "\u2003\ufe661", "\u202f@SUM(A1)",
]  # fmt: skip


def cells(row: list[str], delimiter: str) -> list[str]:
    """Return the cells of a written row in a program that uses another separator."""
    file = io.StringIO()
    csv.writer(file, **WRITER).writerow(row)
    # If it sees no quotes around a line end, the line ends there.
    lines = re.split("\r\n|\r|\n", file.getvalue())
    return [cell for line in csv.reader(lines, delimiter=delimiter) for cell in line]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_begins_a_formula(text: str, delimiter: str) -> None:
    for row in ([text], ["first", text, "last"]):
        found = cells([guarded(cell) for cell in row], delimiter)
        assert not [cell for cell in found if cell.lstrip(DROPPED).startswith(tuple(RISKY))]


@given(st.text(alphabet=st.one_of(st.sampled_from(RISKY + DROPPED + ";|,'\u00a0\x85\u2028"), st.characters())))
def test_what_is_read_back_is_what_was_written(text: str) -> None:
    assert unguarded(guarded(text)) == text
    for delimiter in (";", "|", "\t"):
        for cell in cells(["a", guarded(text)], delimiter):
            assert not cell.lstrip(" ").startswith(tuple(RISKY))


def test_ordinary_texts_and_numbers_stay() -> None:
    for text in ("P-77", "press.top.1.00000012", "a - b", "0.5", "Prüfer, Halle 3", "x; y"):
        assert guarded(text) == text


@pytest.mark.parametrize("part", [text for text in HOSTILE if text == text.strip()])
def test_a_label_file_comes_back(part: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    row = {"part_id": part, "station": "press", "camera_id": "top", "truth": "defective", "note": f"{part};=note"}
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(row), **WRITER)
        writer.writeheader()
        writer.writerow({name: guarded(value) for name, value in row.items()})
    [label] = labels_from_csv(file, labelled_by="eva")
    assert (label.part_id, label.note) == (real_part_id(part), f"{part};=note")
