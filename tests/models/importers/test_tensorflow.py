"""Import of real models of TensorFlow and Keras, by `inspection model import` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from infra.cli.root import app
from models import inspect_image, load_model
from schemas import Verdict
from tests.support.frameworks.environments import make_models, write_images
from tests.support.packages import encoded

pytestmark = [pytest.mark.importers, pytest.mark.long]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tensorflow")
    make_models("tensorflow", made, write_images(made / "images"))
    return made


def run(folder: Path, source: str, *arguments: str) -> Any:
    options = [
        "--images",
        str(folder / "images"),
        "--out",
        str(folder / "out"),
        "--overwrite",
        "--count",
        "6",
        *arguments,
    ]
    return CliRunner().invoke(app, ["model", "import", str(folder / source), *options])


TWO = ("--labels", "good,bad", "--threshold", "0.5", "--licence", "ours")


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("two.keras", TWO),
        ("two.h5", TWO),
        ("exported", TWO),
        ("pusher", TWO),
        ("efficientnet.keras", (*TWO, "--colour", "rgb")),
        (
            "logits.keras",
            (*TWO, "--labels", "good,a,b", "--colour", "bgr", "--size", "40x32", "--activation",
             "softmax", "--scale", "1/255", "--mean", "0.4,0.5,0.6", "--std", "0.2,0.2,0.3"),
        ),
    ],
)  # fmt: skip
def test_models_of_tensorflow(source: str, arguments: tuple[str, ...], folder: Path) -> None:
    done = run(folder, source, *arguments, "--json")
    assert done.exit_code == 0, done.exception
    parity = json.loads(done.stdout)["parity"]
    assert parity["images"] == 6
    assert parity["score_difference"] < 1e-5
    assert parity["own_resizing_difference"] < 0.05
    assert load_model(folder / "out").manifest.metrics["parity"] == parity


def test_the_probability_of_good_becomes_a_score_of_defects(folder: Path) -> None:
    done = run(folder, "p_good.keras", *TWO, "--labels", "bad,good")
    assert done.exit_code == 0, done.exception
    model = load_model(folder / "out")
    white, black = (inspect_image(encoded(np.full((64, 64), value, np.uint8)), model) for value in (255, 0))
    assert (white.verdict, black.verdict) == (Verdict.OK, Verdict.NOT_OK)
    assert white.labels["good"] > 0.99


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("efficientnet.keras", "--labels: 2 names in the order of the training"),
        ("logits.keras", "--size WIDTHxHEIGHT"),
        ("batch_of_two.keras", "takes batches of 2"),
        ("lambda.keras", "use --trust-pickle if the file is yours"),
        ("examples", "signature serving_default takes serialized tf.Example"),
    ],
)
def test_traps_end_in_one_line(source: str, line: str, folder: Path) -> None:
    done = run(folder, source)
    assert line in str(done.exception)
