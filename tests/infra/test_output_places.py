"""Outputs and paths of the command line: what is there is not replaced by mistake, and a refusal is one line."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.cli.commands import COMMANDS, load
from infra.cli.root import main
from tests.support.packages import MakePackage, encoded, scene

# No device of the machine is an output here: as root, a test that fails would replace it for all programs.


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a command and return its only line; fail on another status than 1."""
    monkeypatch.setattr(sys, "argv", ["inspection", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "socket", "folder"])
@pytest.mark.parametrize("option", ["--out", "--html"])
def test_an_output_takes_the_place_of_files_only(
    option: str,
    kind: str,
    make_package: MakePackage,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, place = tmp_path / "images", tmp_path / "place.csv"
    images.mkdir()
    (images / "a.png").write_bytes(encoded(scene(48, 32)))
    if kind == "folder":
        place.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(place))
    else:
        os.mkfifo(tmp_path / "pipe")
        place.symlink_to("pipe") if kind == "link to a pipe" else (tmp_path / "pipe").rename(place)
    before = place.lstat()
    outputs = {"--out": tmp_path / "rows.csv", option: place}
    options = [str(each) for pair in outputs.items() for each in pair]
    line = refusal(["predict", str(images), "--model", str(make_package()), *options], capsys, monkeypatch)
    what = "a folder" if kind == "folder" else "a device, a pipe or a socket"
    assert line == f"error: {place}: is {what}; name a file"
    assert (place.lstat().st_ino, stat.S_IFMT(place.lstat().st_mode)) == (before.st_ino, stat.S_IFMT(before.st_mode))
    assert not (tmp_path / "rows.csv").exists()
    assert not list(tmp_path.glob("*.unfinished"))


def parameters(kind: str) -> list[Any]:
    """Return every command with each of its parameters of a kind."""

    def walk(words: tuple[str, ...], command: Any) -> None:
        for name, child in getattr(command, "commands", {}).items():
            walk((*words, name), child)
        for param in command.params:
            if kind in str(param.type_descriptor.annotation):
                found.append(pytest.param(words, param, id=" ".join((*words, param.name))))

    found: list[Any] = []
    for name in COMMANDS:
        walk((name,), load(name))
    return found


@pytest.mark.parametrize(("words", "param"), parameters("Path"))
def test_an_empty_path_is_not_the_current_folder(
    words: tuple[str, ...], param: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable without a value, as in ``--out "$DIR"``."""
    assert "an empty path" in said_to(words, param, "", capsys, monkeypatch)


@pytest.mark.parametrize("value", ["-inf", "nan", "1e999"])
@pytest.mark.parametrize(("words", "param"), parameters("float"))
def test_a_number_is_finite(
    words: tuple[str, ...], param: Any, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = said_to(words, param, value, capsys, monkeypatch)
    assert "is not a finite number" in said or "Input should be" in said  # beyond the range of the option


def said_to(
    words: tuple[str, ...], param: Any, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Return what a command says to a value of one of its parameters."""
    given = [value] if param.param_type_name == "argument" else [f"{max(param.opts, key=len)}={value}"]
    # Options are read before arguments that are missing.
    monkeypatch.setattr(sys, "argv", ["inspection", *words, *given])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--images", "{images}", "--out", "{file}/model"],
        ["train", "--images", "{file}", "--out", "{new}"],
        ["train", "--images", "{pipe}", "--out", "{new}"],
        ["train", "--images", "{images}", "--out", "{pipe}"],
        ["train", "--images", "{images}", "--out", "{new}", "--good", "\udcff"],
        ["train", "--images", "{images}", "--out", "{new}", "--tiles", "2x2", "--tile-overlap", "1.5"],
        ["train", "--images", "{images}", "--out", "{new}", "--roi", "nan,nan,1e400,inf"],
        ["model", "import", "{pipe}", "--images", "{images}", "--out", "{new}"],
        ["model", "import", "{file}", "--images", "{images}", "--out", "{file}/model"],
        ["model", "init", "{pipe}", "--out", "{new}"],
        ["model", "init", "{file}", "--out", "{new}"],
        ["model", "show", "{file}"],
        ["model", "reference", "{images}", "--images", "{images}"],
        ["model", "check", "{package}", "--images", "{pipe}"],
        ["predict", "{pipe}/x", "--model", "{package}", "--out", "{new}.csv"],
        ["predict", "{images}", "--model", "{pipe}", "--out", "{new}.csv"],
        ["predict", "{images}", "--model", "{package}", "--out", "{new}/deep/rows.csv"],
        ["compare", "--challenger", "{package}", "--archive", "{new}", "--archive-only", "--selection", "{images}"],
        ["export", "rows", "{pipe}", "--archive", "{new}", "--archive-only"],
        ["export", "folder", "{file}", "--archive", "{new}", "--archive-only"],
    ],
    ids=lambda arguments: " ".join(arguments).encode("ascii", "replace").decode(),
)
def test_a_place_or_value_that_cannot_be_one_is_one_line(
    arguments: list[str],
    make_package: MakePackage,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {name: str(tmp_path / name) for name in ("images", "file", "pipe", "new")}
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(encoded(scene(48, 32)))
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    line = refusal([each.format(package=make_package(), **names) for each in arguments], capsys, monkeypatch)
    assert len(line) < 500
    assert not list(tmp_path.glob("new*"))
    assert (tmp_path / "file").read_text() == "x"
