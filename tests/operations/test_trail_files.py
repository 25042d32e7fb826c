"""`inspection trail file`: the newest lines are missed by their head, and what is no file is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.root import app
from schemas.errors import SettingsError
from transport.chained_file import append_line


def check(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["trail", "file", *map(str, arguments)])


def head_of(*files: Path) -> str:
    return str(json.loads(check(*files, "--json").stdout)["head"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gate.trail.jsonl"
    for number in range(4):
        append_line(path, {"fault_id": f"f{number}"})
    return path


def test_a_noted_head_shows_that_the_newest_lines_are_missing(file: Path) -> None:
    head = head_of(file)
    assert head.startswith("4:")
    append_line(file, {"fault_id": "later"})
    assert check(file, "--head", head).exit_code == 0
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:3]))
    assert check(file).exit_code == 0  # a chain does not know how long it was
    done = check(file, "--head", head)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (1, "no line has the head that was noted")
    append_line(file, {"fault_id": "f4"})  # the chain goes on behind the line that is left
    assert check(file).exit_code == 0
    assert check(file, "--head", head).exit_code == 1
    file.write_bytes(b"")
    assert (check(file).stdout, check(file, "--head", head).exit_code) == ("0 lines, 0 faults\n", 1)


def test_a_head_of_a_file_that_was_rotated(file: Path, tmp_path: Path) -> None:
    head, lines = head_of(file), file.read_bytes().splitlines(keepends=True)
    parts = [tmp_path / "old", tmp_path / "new"]
    parts[0].write_bytes(b"".join(lines[:2]))
    parts[1].write_bytes(b"".join(lines[2:]))
    assert check(*parts, "--head", head).exit_code == 0
    assert head_of(*parts) == head
    assert check(*reversed(parts)).exit_code == 1


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    long = tmp_path / "long"
    long.write_bytes(bytes(2 * 1024 * 1024))
    for path, why in ((Path("/dev/zero"), "it is no file"), (long, "more than 1 MiB"), (tmp_path, "Is a directory")):
        done = check(path)
        assert isinstance(done.exception, SettingsError)
        assert why in str(done.exception)
