"""Files of JSON lines in a hash chain: a changed or removed line is named; a full disk accuses nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.chained_file import ChainEnd, append_line, chain_line, check_lines, end_after, end_of_file


def lines_of(count: int) -> list[bytes]:
    found, end = [], ChainEnd()
    for number in range(1, count + 1):
        found.append(chain_line({"part_key": f"P-{number}", "note": "x" * number}, end))
        end = end_after(found[-1], number)
    return found


def faults(lines: list[bytes]) -> list[tuple[int, str]]:
    return [(each.at, each.what) for each in check_lines(lines)]


@given(st.integers(2, 20), st.data())
def test_the_changed_line_is_named(count: int, data: st.DataObject) -> None:
    lines = lines_of(count)
    at = data.draw(st.integers(1, count - 1))
    lines[at - 1] = lines[at - 1].replace(b"P-", b"Q-")
    assert faults(lines) == [(at, "changed, or not written by the program")]


@given(st.integers(3, 20), st.data())
def test_removed_lines_are_named(count: int, data: st.DataObject) -> None:
    lines = lines_of(count)
    first = data.draw(st.integers(2, count - 1))
    last = data.draw(st.integers(first, count - 1))
    del lines[first - 1 : last]
    [(at, what)] = faults(lines)
    assert at == first
    assert what.startswith(f"line {first} of" if first == last else f"lines {first} to {last} of")


def test_two_lines_that_changed_places() -> None:
    lines = lines_of(6)
    lines[2], lines[3] = lines[3], lines[2]
    assert faults(lines)


def test_without_its_first_lines() -> None:
    assert faults(lines_of(5)[2:]) == [(1, "the chain begins with its line 3; the lines before it are not here")]


def test_lines_of_an_earlier_version_stand_before(tmp_path: Path) -> None:
    path = tmp_path / "gate.jsonl"
    path.write_bytes(b'{"part_key": "old-1"}\n{"part_key": "old-2"}\n')
    path.chmod(0o600)
    for number in range(3):
        append_line(path, {"part_key": str(number)})
    lines = path.read_bytes().splitlines()
    assert faults(lines) == []
    assert json.loads(lines[2])["line"] == 1
    lines[1] = b'{"part_key": "new-2"}'
    assert faults(lines) == [(2, "changed, or lines after it were removed")]


@pytest.mark.parametrize("torn", [b'{"part_key": "P-', b"\0\0\0\0", b"\xff", b"["])
def test_a_line_that_a_power_cut_has_torn(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "gate.trail.jsonl"
    append_line(path, {"n": 1})
    with path.open("ab") as file:
        file.write(torn)
    assert end_of_file(path).is_torn
    append_line(path, {"n": 2})
    append_line(path, {"n": 3})
    lines = path.read_bytes().splitlines()
    assert len(lines) == 4
    assert faults(lines) == []
    assert faults([lines[0], torn + b"x", *lines[2:]])


@pytest.mark.parametrize(
    "line",
    [b"", b"null", b"[]", b'{"line": true, "previous": ""}', b'{"line": -1, "previous": ""}', b"[" * 100_000,
     b'{"line": 1e999, "previous": ""}', b'{"line": 1, "previous": 7}'],
)  # fmt: skip
def test_garbage_in_between_is_named(line: bytes) -> None:
    lines = lines_of(4)
    lines.insert(2, line)
    assert faults(lines)


def test_the_end_of_a_long_last_line(tmp_path: Path) -> None:
    path = tmp_path / "gate.jsonl"
    lines = [*lines_of(3)]
    lines.append(chain_line({"note": "x" * 50_000}, end_after(lines[-1], 3)))
    path.write_bytes(b"".join(lines))
    assert end_of_file(path) == end_after(lines[-1], 4)
    assert end_of_file(tmp_path / "none") == ChainEnd()
    path.write_bytes(b"")
    assert end_of_file(path) == ChainEnd()
