"""`inspection predict` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from infra.cli.root import app
from schemas.errors import SettingsError
from tests.support.packages import MakePackage, encoded, scene


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.png").write_bytes(encoded(scene(48, 32, seed=number)))
    (folder / "broken.png").write_bytes(b"no image")
    (folder / os.fsdecode(b"\x1b[2J\xfc.txt")).touch()
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_rows_and_a_page(make_package: MakePackage, images: Path, tmp_path: Path) -> None:
    out, html, package = tmp_path / "rows.parquet", tmp_path / "report.html", make_package()
    done = run(images, "--model", package, "--out", out, "--html", html, "--processes", "1")
    assert done.exit_code == 0, done.output
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{out} and {html}: 13 images in ")
    assert last.endswith(f"REJECT (1 failed); next: inspection worker --model {package}")
    assert "1 could not be inspected, unreadable-image: such as " in done.stdout
    assert "skipped 1 file that is no image by the suffix, such as \\x1b[2J\\xfc.txt" in done.stderr
    assert out.exists()
    assert html.exists()


def test_json(make_package: MakePackage, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    done = run(images, "--model", make_package(), "--out", out, "--json")
    found = json.loads(done.stdout)
    assert (found["is_finished"], found["images"], found["done"], found["failed"]) == (True, 13, 13, 1)
    assert found["failures"] == {"unreadable-image": 1}
    assert sum(found["actions"].values()) == sum(found["verdicts"].values()) == 13
    assert (found["model"], found["others"]) == ("tiny", 1)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nowhere", "--out", "rows.csv"), "nowhere: no such file or directory"),
        (("{images}", "--out", "rows.txt"), "ends with .parquet or .csv or .jsonl"),
        (("{images}", "--out", "r.csv", "--html", "r.csv"), "is the file of --out"),
    ],
)
def test_errors_are_one_line(
    arguments: tuple[str, ...], line: str, make_package: MakePackage, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = make_package()
    monkeypatch.chdir(images.parent)
    done = run(*(each.format(images=images) for each in arguments), "--model", package)
    assert isinstance(done.exception, SettingsError)
    assert line in str(done.exception)
    assert "\n" not in str(done.exception)


def test_ctrl_c_keeps_the_rows(make_package: MakePackage, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    image = encoded(scene(1600, 1200))
    for number in range(600):
        (folder / f"{number}.png").write_bytes(image)
    out = tmp_path / "rows.csv"
    code = "import sys; from infra.cli.root import main; sys.exit(main())"
    program = tmp_path / "program.py"
    program.write_text(f"if __name__ == '__main__':\n    {code}\n")
    command = ["predict", str(folder), "--model", str(make_package()), "--out", str(out), "--processes", "1"]
    process = subprocess.Popen(
        [sys.executable, str(program), *command], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    rows = tmp_path / "rows.csv.unfinished" / "rows.jsonl"
    until_s = time.monotonic() + 60
    while not (rows.exists() and rows.stat().st_size):
        assert time.monotonic() < until_s
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # a terminal signals all processes
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "of 600 images; go on with the same command and --resume" in errors
    assert "Traceback" not in errors
    assert not out.exists()
