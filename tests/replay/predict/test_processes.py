"""Files that end the process which inspects them, or let it hang; processes that do not start."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from models import load_model
from models.errors import ModelPackageError
from replay.predict import processes as module
from replay.predict.child import FileJob
from replay.predict.processes import InspectingProcesses, InspectingProcessFailed
from replay.predict.rows import FileRow
from schemas.records import ResultState
from tests.support.packages import MakePackage, encoded, scene

COUNT, DEADLY = 24, 9
MakeDeadly = Callable[[str], None]


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    found = [tmp_path / f"{number:02}.png" for number in range(COUNT)]
    for number, path in enumerate(found):
        path.write_bytes(encoded(scene(40, 40, seed=number)))
    return [str(path) for path in found]


@pytest.fixture
def deadly(
    paths: list[str], tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Return a function that makes one of the images deadly."""

    def make(how: str) -> None:
        digest = hashlib.sha256(Path(paths[DEADLY]).read_bytes()).hexdigest()
        killer = repository / "tests" / "stream_processors" / "worker" / "killer"
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(killer), str(repository)]))
        monkeypatch.setenv("TEST_DEADLY_SHA256", digest)
        monkeypatch.setenv("TEST_DEADLY_HOW", how)
        monkeypatch.setenv("TEST_DEADLY_MARK", str(tmp_path / "mark"))

    return make


def inspected(package: Path, paths: list[str], *, count: int = 1, silence_s: float = 300.0) -> list[FileRow]:
    model = load_model(package)
    jobs = (FileJob(number, path) for number, path in enumerate(paths))
    identity = (model.sha256, model.recipe_revision)
    with InspectingProcesses(package, identity, "", count, silence_s=silence_s) as processes:
        rows = [FileRow.loads(line) for line in processes.inspect(jobs, 0, len(paths), threading.Event())]
    assert not multiprocessing.active_children()
    return rows


@pytest.mark.parametrize(
    "how", ["is killed", pytest.param("exits", marks=pytest.mark.long), pytest.param("hangs", marks=pytest.mark.long)]
)
def test_a_deadly_file_gets_a_row_and_the_run_goes_on(
    how: str, deadly: MakeDeadly, make_package: MakePackage, paths: list[str]
) -> None:
    deadly(how)
    rows = inspected(make_package(), paths, silence_s=4.0 if how == "hangs" else 300.0)
    assert [row.path for row in rows] == paths
    failed = [number for number, row in enumerate(rows) if row.result_state is ResultState.FAILED]
    assert failed == [DEADLY]
    assert rows[DEADLY].failure == "killed-the-process"
    ended = {"exits": "with status 3"}.get(how, "with signal 9 (SIGKILL)")
    assert rows[DEADLY].reason == f"killed-the-process: the process that inspected it ended {ended}"


def test_a_process_that_ends_once_costs_no_file(
    deadly: MakeDeadly, make_package: MakePackage, paths: list[str]
) -> None:
    deadly("is killed once")
    rows = inspected(make_package(), paths, count=2)
    assert [row.path for row in rows] == paths
    assert {row.result_state for row in rows} == {ResultState.COMPLETED}


def test_processes_that_do_not_start_end_in_one_line(
    make_package: MakePackage, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_child", _ends_at_once)
    with pytest.raises(InspectingProcessFailed, match=r"ended with status 7 while it loaded the model"):
        inspected(make_package(), paths)


def _ends_at_once(*_: object) -> None:
    os._exit(7)


def test_a_package_that_is_replaced_meanwhile_is_refused(make_package: MakePackage, paths: list[str]) -> None:
    package, other = make_package(), make_package(decision={"recipe_id": "t", "revision": 2, "threshold": 0.4})
    model = load_model(package)
    shutil.copytree(other, package, dirs_exist_ok=True)
    jobs = iter([FileJob(0, paths[0])])
    with (
        InspectingProcesses(package, (model.sha256, model.recipe_revision), "", 1) as processes,
        pytest.raises(ModelPackageError, match="the package changed"),
    ):
        list(processes.inspect(jobs, 0, 1, threading.Event()))


def test_rows_wait_for_those_before_them_within_a_bound() -> None:
    jobs = (FileJob(number, "") for number in range(1000))
    order = module._Order(jobs, 0, 16, 64)
    taken = [each.number for _ in range(10) for each in order.take()]
    assert taken == list(range(64)), "no more than the bound is begun while the first row is missing"
    for number in reversed(range(1, 64)):
        order.add(number, b"%d" % number)
    assert list(order.ready()) == []
    order.add(0, b"0")
    assert list(order.ready()) == [b"%d" % number for number in range(64)]
    assert [each.number for each in order.take()] == list(range(64, 80))
