"""A model package appears complete or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models.training import package_folder
from models.training.package_folder import check_place, new_package
from schemas.errors import SettingsError


def write(out: Path, text: str, *, overwrite: bool = False) -> None:
    with new_package(out, overwrite=overwrite) as folder:
        (folder / "manifest.yaml").write_text(text)


def entries(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_package_is_replaced_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "model"
    write(out, "old")
    (out / "reference.json").write_text("{}")
    write(out, "new", overwrite=True)
    assert entries(tmp_path) == ["model", "model/manifest.yaml"]
    assert (out / "manifest.yaml").read_text() == "new"


def test_a_failure_leaves_the_old_package(tmp_path: Path) -> None:
    out = tmp_path / "model"
    write(out, "old")

    def interrupted() -> None:
        with new_package(out, overwrite=True) as folder:
            (folder / "manifest.yaml").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert entries(tmp_path) == ["model", "model/manifest.yaml"]
    assert (out / "manifest.yaml").read_text() == "old"


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    write(tmp_path / "model", "new")
    assert entries(tmp_path) == ["model", "model/manifest.yaml"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "model").symlink_to(tmp_path / "disk")
    write(tmp_path / "model", "new")
    assert (tmp_path / "model").is_symlink()
    assert (tmp_path / "disk" / "manifest.yaml").read_text() == "new"


@pytest.mark.parametrize(
    ("files", "overwrite", "line"),
    [
        (["manifest.yaml"], False, "replace the package with --overwrite"),
        (["holiday.png"], True, "is no model package"),
        (["manifest.yaml", "images/0.png"], True, "also has images, which --overwrite would delete"),
    ],
)
def test_a_folder_that_is_there_is_refused(files: list[str], overwrite: bool, line: str, tmp_path: Path) -> None:
    out = tmp_path / "model"
    for name in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).touch()
    before = entries(tmp_path)
    with pytest.raises(SettingsError, match=line):
        check_place(out, overwrite=overwrite)
    with pytest.raises(SettingsError, match=line):
        write(out, "new", overwrite=overwrite)
    assert entries(tmp_path) == before


def test_the_next_run_deletes_the_folder_of_a_killed_one_only(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from models.training.package_folder import new_package\n"
        "with new_package(Path(sys.argv[1]), overwrite=False): print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "model")], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        write(tmp_path / "model", "new")
        assert len(entries(tmp_path)) == 3  # the running one keeps its folder
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
        write(tmp_path / "model", "newer", overwrite=True)
        assert entries(tmp_path) == ["model", "model/manifest.yaml"]
    finally:
        child.kill()
        child.wait(10)
        if child.stdout is not None:
            child.stdout.close()


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the file system one that cannot exchange two folders."""
    monkeypatch.setattr(package_folder, "_exchange", lambda one, other: False)


@pytest.mark.parametrize("renames", [1, 2])
@pytest.mark.usefixtures("no_exchange")
def test_a_stop_between_the_renames_leaves_one_whole_package(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first rename the old package is back, after the second one the new package is there."""
    out, done, rename = tmp_path / "model", 0, Path.rename
    write(out, "old")

    def then_a_signal(self: Path, target: Path) -> Path:
        nonlocal done
        found, done = rename(self, target), done + 1
        if done == renames:
            raise SystemExit(143)
        return found

    monkeypatch.setattr(Path, "rename", then_a_signal)
    with pytest.raises(SystemExit):
        write(out, "new", overwrite=True)
    assert entries(tmp_path) == ["model", "model/manifest.yaml"]
    assert (out / "manifest.yaml").read_text() == ("old" if renames == 1 else "new")


@pytest.mark.parametrize("renames", [1, 2])
@pytest.mark.usefixtures("no_exchange")
def test_the_next_run_tidies_after_a_kill_between_the_renames(renames: int, tmp_path: Path) -> None:
    """After the first rename the old package is put back, after the second one it is deleted."""
    out = tmp_path / "model"
    write(out, "old")
    out.rename(tmp_path / ".model.0123abcd.old")
    if renames == 2:
        out.mkdir()
        (out / "manifest.yaml").write_text("new")
    with pytest.raises(SettingsError, match="replace the package with --overwrite"):
        write(out, "newer")
    assert entries(tmp_path) == ["model", "model/manifest.yaml"]
    assert (out / "manifest.yaml").read_text() == ("old" if renames == 1 else "new")


def test_a_package_is_replaced_without_an_instant_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "model"
    write(out, "old")

    def never(self: Path, target: Path) -> Path:
        raise AssertionError(f"{self} was renamed to {target}: there was an instant without a package")

    monkeypatch.setattr(Path, "rename", never)
    write(out, "new", overwrite=True)
    assert entries(tmp_path) == ["model", "model/manifest.yaml"]
    assert (out / "manifest.yaml").read_text() == "new"


def test_a_place_that_cannot_be_made_is_refused_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "model", tmp_path / "file" / "deep" / "model"):
        with pytest.raises(SettingsError, match="file is not a directory"):
            check_place(out, overwrite=False)
    check_place(tmp_path / "new" / "deep" / "model", overwrite=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_may_not_be_written_is_refused_before_the_training(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SettingsError, match="may not be written"):
        check_place(tmp_path / "model", overwrite=False)
