"""Import of real models of PyTorch, by `inspection model import` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.root import app
from models import load_model
from tests.support.frameworks.environments import make_models, write_images

pytestmark = [pytest.mark.importers, pytest.mark.long]

STATED = (
    "--labels", "good,bad", "--threshold", "0.5", "--activation", "softmax", "--colour", "rgb", "--scale", "imagenet",
    "--licence", "ours",
)  # fmt: skip
SIZE = ("--size", "64x64")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("torch")
    make_models("torch", made, write_images(made / "images", 3))
    return made


def run(folder: Path, source: str, *arguments: str) -> Any:
    options = ["--images", str(folder / "images"), "--out", str(folder / "out"), "--overwrite", *arguments]
    return CliRunner().invoke(app, ["model", "import", str(folder / source), *options])


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("weights.pt", (*SIZE, "--entry", "network:build")),
        ("script.pt", SIZE),
        ("free.pt2", ()),
    ],
)
def test_models_of_pytorch(
    source: str, arguments: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = run(folder, source, *STATED, *arguments, "--json")
    assert done.exit_code == 0, done.exception
    parity = json.loads(done.stdout)["parity"]
    assert parity["images"] == 7
    assert parity["score_difference"] < 1e-5
    assert parity["own_resizing_difference"] < 0.2
    assert load_model(folder / "out").manifest.metrics["parity"] == parity


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("weights.pt", "--entry package:function"),
        ("whole.pt", "whole pickled module"),
        ("script.pt", "state: --size WIDTHxHEIGHT, --colour"),
        ("batch_of_two.pt2", "takes batches of 2"),
        ("hostile.pt2", "use --trust-pickle if the file is yours"),
    ],
)
def test_traps_end_in_one_line(source: str, line: str, folder: Path) -> None:
    done = run(folder, source)
    assert line in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (folder / "was_here").exists()
