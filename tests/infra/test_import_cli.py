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
        (["--size", "64"], "--size '64': WIDTHxHEIGHT"),
        (["--threshold", "2"], "--threshold '2': a number from 0 to 1"),
        (["--map-range", "4"], "--map-range '4': 2 numbers"),
        (["--output", "scores"], "--output 'scores': ROLE=NAME"),
        (["--labels", "good,good"], "--labels 'good,good': different names"),
        (["--images", "none"], "--images none: no such directory"),
        (["--images", "model/saved_model.pb"], "--images model/saved_model.pb: a file, not a directory"),
        (["--out", "images"], "images exists and is no model package"),
        (["--python", "none"], "--python none: No such file or directory"),
    ],
)
def test_wrong_options(arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    Path("images/a.png").write_bytes(encoded(scene(8, 8)))
    saved_model(Path("model"), {"serving_default": {"image": (FLOAT, IMAGE)}})
    done = CliRunner().invoke(
        app, ["model", "import", "model", "--images", "images", "--out", "out", "--python", "/none", *arguments]
    )
    assert isinstance(done.exception, InspectionError)
    assert line in str(done.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "model"]
