"""Runs that were stopped, killed or damaged go on where they stopped, and no row is there twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from replay.predict.rows import FileRow
from replay.predict.run import PredictOptions, predict
from replay.predict.unfinished import UnfinishedRun, UnfinishedRunError
from schemas import Action, ResultState, Verdict
from tests.support.packages import MakePackage, encoded, scene

COUNT = 150
#: Program that kills itself after 40 rows, and prints its children before.
KILLED_AFTER_40 = """
import os, signal, sys
import psutil
from replay.predict import unfinished
from replay.predict.unfinished import UnfinishedRun

append = UnfinishedRun.append

def killed(self, lines):
    for done in append(self, lines):
        yield done
        if done == 40:
            print(*(child.pid for child in psutil.Process().children()), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    unfinished.SYNC_S = 0.0
    UnfinishedRun.append = killed
    from infra.cli.root import app
    app(sys.argv[1:])
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number:03}.png").write_bytes(encoded(scene(48, 32, seed=number % 7)))
    return folder


def options(images: Path, model: Path, out: Path, **more: Any) -> PredictOptions:
    return PredictOptions(arguments=[str(images)], model=model, out=out, processes=1, **more)


def stopped_after(count: int, options: PredictOptions) -> int:
    """Run until some files are done, and stop; return the number of rows."""
    stop = threading.Event()
    found = predict(options, stop=stop, on_progress=lambda done, _: stop.set() if done >= count else None)
    assert found.figures is None
    return found.done


def test_a_stopped_run_goes_on_and_makes_the_same_file(make_package: MakePackage, images: Path, tmp_path: Path) -> None:
    package, out = make_package(), tmp_path / "rows.jsonl"
    predict(options(images, package, tmp_path / "whole.jsonl"))
    before = stopped_after(20, options(images, package, out))
    assert 20 <= before < COUNT
    assert not out.exists()
    with pytest.raises(UnfinishedRunError, match=r"add --resume to go on, or delete this folder"):
        predict(options(images, package, out))
    found = predict(options(images, package, out, resume=True))
    assert (found.resumed, found.done) == (before, COUNT)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not found.unfinished.exists()


@pytest.mark.long
def test_a_killed_run_goes_on_and_makes_the_same_file(make_package: MakePackage, images: Path, tmp_path: Path) -> None:
    package, out = make_package(), tmp_path / "rows.jsonl"
    program = tmp_path / "program.py"
    program.write_text(KILLED_AFTER_40)
    command = ["predict", str(images), "--model", str(package), "--out", str(out), "--processes", "2"]
    killed = subprocess.run([sys.executable, str(program), *command], stdout=subprocess.PIPE, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    children = [int(number) for number in killed.stdout.split()]
    assert len(children) >= 2
    until_s = time.monotonic() + 10
    while any(map(psutil.pid_exists, children)):
        assert time.monotonic() < until_s, "processes are left"
        time.sleep(0.02)
    found = predict(options(images, package, out, resume=True))
    assert (found.resumed, found.done) == (40, COUNT)
    paths = [json.loads(line)["path"] for line in out.read_text().splitlines()]
    assert paths == [str(images / f"{number:03}.png") for number in range(COUNT)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-7],
        lambda data: data + b'{"path": "x',
        lambda data: data + bytes(4096),
        lambda data: data + b"\xff\xfe\n\n",
        lambda data: data + data[: data.index(b"\n") + 1],
        lambda data: b"",
        lambda data: bytes(len(data)),
    ],
    ids=["cut", "half a row", "zeros", "garbage", "a row again", "nothing", "all zeros"],
)
def test_damaged_rows_are_made_again(damage: Any, tmp_path: Path) -> None:
    paths = [Path(f"{number}.png") for number in range(50)]
    lines = [_line(path) for path in paths]
    run = UnfinishedRun(tmp_path / "rows.jsonl")
    with run.lock():
        run.begin({"model": "m"}, paths)
        assert list(run.append(lines[:30]))[-1] == 30
    rows = run.path / "rows.jsonl"
    rows.write_bytes(damage(rows.read_bytes()))
    run = UnfinishedRun(tmp_path / "rows.jsonl")
    with run.lock():
        done = run.resume({"model": "m"})
        assert done <= 30
        assert rows.read_bytes() == b"".join(lines[:done])
        assert list(run.paths(done)) == [path.name for path in paths[done:]]
        list(run.append(lines[done:]))
        assert [row.path for row in run.rows()] == [path.name for path in paths]


def _line(path: Path) -> bytes:
    failed = ResultState.FAILED
    row = FileRow(path=str(path), verdict=Verdict.OK, action=Action.ACCEPT, result_state=failed, reason="", score=0.1)
    return row.dumps()


def test_files_that_come_later_are_not_part_of_a_resumed_run(
    make_package: MakePackage, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, out = make_package(), tmp_path / "rows.jsonl"
    monkeypatch.chdir(tmp_path)
    relative = PredictOptions(arguments=["images"], model=package, out=out, processes=1)
    stopped_after(10, relative)
    (images / "000a.png").write_bytes(b"later")
    monkeypatch.chdir(images)
    found = predict(PredictOptions(arguments=["../images"], model=package, out=out, processes=1, resume=True))
    assert found.figures is not None
    assert (found.figures.images, found.figures.failed_count) == (COUNT, 0)
    assert json.loads(out.read_text().splitlines()[5])["path"] == "images/005.png"


def test_a_run_of_other_arguments_or_another_model_is_refused(
    make_package: MakePackage, images: Path, tmp_path: Path
) -> None:
    package, out = make_package(), tmp_path / "rows.jsonl"
    stopped_after(1, options(images, package, out))
    with pytest.raises(UnfinishedRunError, match="begun with arguments"):
        predict(options(tmp_path, package, out, resume=True))
    decision = {"recipe_id": "tiny", "revision": 1, "threshold": 0.6}
    with pytest.raises(UnfinishedRunError, match="begun with recipe"):
        predict(options(images, make_package(decision=decision), out, resume=True))


@pytest.mark.parametrize("text", [b"", b"{}", b"null", b"[" * 100_000, b'{"format": 99, "count": 3}', b"\xff"])
def test_a_damaged_plan_is_one_clear_error(
    text: bytes, make_package: MakePackage, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    folder = UnfinishedRun(out).path
    folder.mkdir()
    (folder / "plan.json").write_bytes(text)
    with pytest.raises(UnfinishedRunError, match=r"plan\.json is damaged .* delete .* to begin a new run"):
        predict(options(images, make_package(), out, resume=True))


def test_two_runs_of_one_output_exclude_each_other(make_package: MakePackage, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    with UnfinishedRun(out).lock(), pytest.raises(UnfinishedRunError, match="another process is at work"):
        predict(options(images, make_package(), out))


def test_a_run_killed_before_its_list_was_complete_begins_again(
    make_package: MakePackage, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    folder = UnfinishedRun(out).path
    folder.mkdir()
    (folder / "paths").write_bytes(os.fsencode(images / "000.png"))
    for name in (images / f"{number:03}.png" for number in range(5, COUNT)):
        name.unlink()
    found = predict(options(images, make_package(), out))
    assert (found.resumed, found.done) == (0, 5)


def test_a_link_in_place_of_the_rows_is_not_followed(make_package: MakePackage, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder = UnfinishedRun(out).path
    folder.mkdir()
    (folder / "rows.jsonl").symlink_to(precious)
    with pytest.raises(Exception, match="symbolic link"):
        predict(options(images, make_package(), out))
    assert precious.read_text() == "precious"
