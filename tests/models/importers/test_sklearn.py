"""Import of real classifiers of scikit-learn, by `inspection model import --embedding lite0` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from infra.cli.root import app
from models import inspect_image, load_model
from models.training.embedding import embed
from tests.support.frameworks.environments import make_models, python_of, write_images

pytestmark = [pytest.mark.importers, pytest.mark.long]

STATED = ("--threshold", "0.5", "--colour", "grey", "--licence", "ours")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python_of("sklearn")
    made = tmp_path_factory.mktemp("sklearn")
    paths = sorted(write_images(made / "images", 12).rglob("*.png"))
    np.savez(made / "table.npz", features=embed(paths), is_bad=[path.parent.name == "bad" for path in paths])
    make_models("sklearn", made, made / "table.npz")
    return made


def run(folder: Path, source: str, *arguments: str) -> Any:
    options = ["--images", str(folder / "images"), "--out", str(folder / "out"), "--overwrite", "--embedding", "lite0"]
    return CliRunner().invoke(app, ["model", "import", str(folder / source), *options, *arguments])


@pytest.mark.parametrize(
    "source",
    ["logistic.joblib", "forest.joblib", "logistic.onnx", "forest.onnx", "logistic.zipmap.onnx", "forest.zipmap.onnx"],
)
def test_classifiers(source: str, folder: Path) -> None:
    trust = ["--trust-pickle"] if source.endswith(".joblib") else []
    done = run(folder, source, *STATED, *trust, "--json")
    assert done.exit_code == 0, done.exception
    parity = json.loads(done.stdout)["parity"]
    assert parity["images"] == 20
    assert parity["score_difference"] < 1e-5
    model = load_model(folder / "out")
    assert (model.manifest.task, model.manifest.labels, model.manifest.good_label) == (
        "classification", ("bad", "good"), "good",
    )  # fmt: skip
    scores = {
        name: np.mean([inspect_image(path.read_bytes(), model).score for path in (folder / "images" / name).iterdir()])
        for name in ("good", "bad")
    }
    assert scores["good"] < 0.5 < scores["bad"]


@pytest.mark.parametrize(
    ("source", "arguments", "line"),
    [
        ("logistic.joblib", STATED, "use --trust-pickle if the file is yours"),
        ("no_probabilities.joblib", (*STATED, "--trust-pickle"), "LinearSVC has no predict_proba"),
        ("other_features.joblib", (*STATED, "--trust-pickle"), "it takes 30 features, the embedding has 3248"),
        ("logistic.onnx", ("--threshold", "0.5", "--licence", "ours"), "state --colour grey or rgb"),
        ("table.npz", STATED, "a file .onnx of skl2onnx"),
    ],
)
def test_traps_end_in_one_line(source: str, arguments: tuple[str, ...], line: str, folder: Path) -> None:
    done = run(folder, source, *arguments)
    assert line in str(done.exception)
    assert "\n" not in str(done.exception)
