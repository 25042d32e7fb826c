"""Options of `inspection model import` that are wrong end in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.root import app
from schemas.errors import InspectionError
from tests.support.packages import encoded, scene
from tests.support.saved_models import FLOAT, IMAGE, saved_model


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--size", "64"], "--size 64: width and height in pixels"),
        (["--scale", "x"], "--scale x: a number such as"),
        (["--scale", "1/0"], "--scale 1/0: a number such as"),
        (["--mean", "a,b"], "--mean a,b: numbers such as"),
        (["--anomaly-range", "4,1"], "--anomaly-range 4,1: two numbers, the smaller one first"),
        (["--output", "scores"], "--output scores: write ROLE=NAME"),
        (["--images", "none"], "--images none: no such directory"),
        (["--out", "images"], "--out images: it has files and is not a model package"),
        (["--python", "none"], "--python none: No such file or directory"),
    ],
)
def test_wrong_options(arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    Path("images/a.png").write_bytes(encoded(scene(8, 8)))
    saved_model(Path("model"), {"serving_default": {"image": (FLOAT, IMAGE)}})
    done = CliRunner().invoke(app, ["model", "import", "model", "--images", "images", "--out", "out", *arguments])
    assert isinstance(done.exception, InspectionError)
    assert line in str(done.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "model"]
