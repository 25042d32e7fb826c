"""Import of real models of Anomalib, by `inspection model import` as a user runs it."""

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("anomalib")
    make_models("anomalib", made, write_images(made / "images", 6))
    return made


def run(folder: Path, source: str, *arguments: str) -> Any:
    options = ["--images", str(folder / "images"), "--out", str(folder / "out"), "--overwrite", *arguments]
    return CliRunner().invoke(app, ["model", "import", str(folder / source), *options])


@pytest.mark.parametrize("source", ["padim.pt", "patchcore.pt"])
def test_models_of_anomalib(source: str, folder: Path) -> None:
    done = run(folder, source, "--trust-pickle", "--licence", "ours", "--json")
    assert done.exit_code == 0, done.exception
    parity = json.loads(done.stdout)["parity"]
    assert parity["images"] == 13
    assert parity["score_difference"] < 1e-4
    assert "own_resizing_difference" in parity
    manifest = load_model(folder / "out").manifest
    assert dict(manifest.outputs.names) == {"score": "pred_score", "map": "anomaly_map"}
    assert (manifest.input.colour, manifest.input.width, manifest.decision.threshold) == ("rgb", 64, 0.5)
    assert manifest.anomaly is not None
    assert (manifest.anomaly.low, manifest.anomaly.high) == (0.0, 1.0)
    assert manifest.metrics["parity"] == parity


def test_a_pickle_is_not_loaded_unless_it_is_trusted(folder: Path) -> None:
    done = run(folder, "padim.pt", "--licence", "ours")
    assert "a pickled model of Anomalib, whose loading runs code: use --trust-pickle" in str(done.exception)
    assert "\n" not in str(done.exception)
