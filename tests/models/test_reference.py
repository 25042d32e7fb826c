"""The training reference: normal scores, its file, and what `inspection model reference` makes of images."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from typer.testing import CliRunner

from infra.cli.setup.model import app
from models import ModelPackageError, inspect_image, load_model
from models.measure_reference import MIN_IMAGES, measure_reference, write_reference
from models.package import default_model_path, load_reference
from models.reference import MAX_SCORE, Reference, SignalReference, references_of
from tests.support.packages import encoded, graph_bytes, scene


def test_scores_of_what_it_was_made_of_are_standard_normal():
    skewed = np.random.default_rng(1).lognormal(0, 1, 3000)
    reference = SignalReference.of(skewed.tolist())
    scores = [reference.normal_score(value) for value in np.random.default_rng(2).lognormal(0, 1, 3000)]
    assert np.mean(scores) == pytest.approx(0, abs=0.07)
    assert np.std(scores) == pytest.approx(1, abs=0.07)


def test_beyond_the_reference_scores_go_on_and_end():
    reference = SignalReference.of(np.random.default_rng(1).normal(100, 10, 1000).tolist())
    scores = [reference.normal_score(value) for value in (100, 120, 134, 138, 1e9)]
    assert scores == sorted(scores)
    assert scores[-1] == MAX_SCORE
    assert reference.normal_score(-1e9) == -MAX_SCORE


def test_a_signal_that_never_moves_is_quiet_within_its_resolution():
    reference = SignalReference.of([0.0] * 100, resolution=0.002)
    assert reference.normal_score(0.001) == 0
    assert reference.normal_score(0.5) == MAX_SCORE


def test_values_that_repeat_are_in_the_middle_of_their_ranks():
    reference = SignalReference.of([0.0] * 900 + [1.0] * 100)
    assert reference.normal_score(0.0) == pytest.approx(-0.13, abs=0.03)
    assert sum(reference.rank_shares(10)) == pytest.approx(1)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50), st.floats(allow_nan=False), st.floats(0, 10))
def test_any_reference_gives_a_score_and_survives_its_file(values, value, resolution):
    reference = SignalReference.of(values, resolution)
    assert abs(reference.normal_score(value)) <= MAX_SCORE
    read = Reference.loads(Reference({"a": reference}, {"p": {"a": reference}}).dumps())
    assert abs(read.of("p")["a"].normal_score(value)) <= MAX_SCORE
    assert read.of("p")["a"].images == read.of(None)["a"].images == len(values)


def test_rows_with_holes():
    rows = [{"a": 1.0, "b": math.nan}, {"a": 2.0, "b": 1.0}, {"a": 3.0, "dhash_hi": 4.0}, {"a": math.inf, "c": 1.0}]
    assert set(references_of(rows)) == {"a"}


def file_with(signal: str = "", embedding: str = "null", version: int = 1) -> str:
    everything = f'{{"a": {signal}}}' if signal else "{}"
    return f'{{"reference_version": {version}, "everything": {everything}, "products": {{}}, "embedding": {embedding}}}'


NO_REFERENCES = {
    "empty": "",
    "null": "null",
    "a list": "[]",
    "an object": "{}",
    "another version": file_with(version=2),
    "no numbers": file_with("{}"),
    "falling": file_with('{"quantiles": [2, 1], "mean": 0, "sd": 1, "resolution": 0, "images": 9}'),
    "not a number": file_with('{"quantiles": [1, NaN], "mean": 0, "sd": 1, "resolution": 0, "images": 9}'),
    "one image": file_with('{"quantiles": [1, 2], "mean": 0, "sd": 1, "resolution": 0, "images": 1}'),
    "an sd of 0": file_with(embedding='{"mean": [1], "sd": [0]}'),
}


@pytest.mark.parametrize("text", NO_REFERENCES.values(), ids=NO_REFERENCES)
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        Reference.loads(text)


def test_the_package_that_ships_has_one_and_it_fits_the_test_images():
    from models.datasets.elpv import load_cells

    model = load_model(default_model_path())
    assert model.reference is not None
    assert set(model.reference.products) == {"mono", "poly"}
    rows = [inspect_image(cell.path.read_bytes(), model).signals for cell in load_cells("test")[::4]]
    for name, reference in model.reference.everything.items():
        scores = [reference.normal_score(row[name]) for row in rows]
        assert abs(np.mean(scores)) < 0.35, name


def test_a_reference_with_another_sha256_is_refused(tmp_path):
    shutil.copytree(default_model_path(), tmp_path / "p")
    (tmp_path / "p" / "reference.json").write_text("{}")
    for load in (load_model, load_reference):
        with pytest.raises(ModelPackageError, match=r"manifest\.yaml:\d+: reference\.sha256: reference\.json has"):
            load(tmp_path / "p")


def test_decisions_do_not_depend_on_the_reference(tmp_path):
    shutil.copytree(default_model_path(), tmp_path / "p")
    before = load_model(tmp_path / "p")
    write_reference(tmp_path / "p", Reference({}, {}))
    write_reference(tmp_path / "p", Reference(references_of([{"a": 1.0}, {"a": 2.0}]), {}))
    after = load_model(tmp_path / "p")
    assert set(after.reference.everything) == {"a"}
    assert (after.recipe_revision, after.sha256) == (before.recipe_revision, before.sha256)
    assert (tmp_path / "p" / "manifest.yaml").read_text().count("reference:") == 1


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(2 * MIN_IMAGES + 10):
        folder = tmp_path / "images" / ("a" if number < MIN_IMAGES else "b" if number < 2 * MIN_IMAGES else "few")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(encoded(scene(16, 16, seed=number)))
    return tmp_path / "images"


def test_the_command_measures_products(make_package, images):
    package = make_package()
    done = CliRunner().invoke(app, ["reference", str(package), "--images", str(images), "--by-folder", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["images"] == 110
    assert found["products"] == ["a", "b"]
    assert {"brightness", "score", "entropy"} <= set(found["signals"])
    reference = load_model(package).reference
    assert reference.of("a")["brightness"].images == MIN_IMAGES
    assert reference.of("few")["brightness"].images == 110


def test_shrinking_is_said_once_where_a_reference_is_measured(make_package, caplog):
    wide = encoded(scene(100, 16, seed=1))
    measure_reference(load_model(make_package()), [("", wide)] * MIN_IMAGES)
    said = [record.getMessage() for record in caplog.records if "times fewer" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("images of the reference: 100x16 pixels become 8x8")


def test_signals_of_the_output_are_those_of_held_out_images(make_package, images):
    package = make_package()
    arguments = ["reference", str(package), "--images", str(images / "a"), "--held-out", str(images / "b")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    reference = load_model(package).reference
    bright = [inspect_image(path.read_bytes(), load_model(package)).score for path in sorted((images / "b").iterdir())]
    assert reference.everything["score"].mean == pytest.approx(np.mean(bright), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "nowhere"], "no such directory"),
        (["--images", ".", "--held-out", "nowhere"], "no such directory"),
        (["--images", "lot.tar.gz"], "--images lot.tar.gz: an archive; unpack it"),
        (["--images", "empty"], "0 images; 50 are needed"),
        (["--images", "bad"], "take it out"),
    ],
)
def test_the_command_says_what_is_wrong(make_package, tmp_path, monkeypatch, arguments, message):
    package = make_package()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "lot.tar.gz").touch()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"no image")
    done = CliRunner().invoke(app, ["reference", str(package), *arguments])
    assert message in str(done.exception)


def test_the_distance_of_an_embedding(make_package, images):
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["logit"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["image"], ["seen"], axes=[3], keepdims=0),
    ]
    graph = graph_bytes(nodes, {"logit": ("n", 1), "seen": ("n", 1, 8)})
    outputs = {"names": {"scores": "logit", "embedding": "seen"}, "activation": "sigmoid"}
    package = make_package(graph, outputs=outputs)
    model = load_model(package)
    pairs = [("", path.read_bytes()) for path in sorted((images / "a").iterdir())]
    assert "embedding_distance" not in inspect_image(pairs[0][1], model).signals
    write_reference(package, measure_reference(model, pairs))
    model = load_model(package)
    usual = [inspect_image(image, model).signals["embedding_distance"] for _, image in pairs]
    assert np.sqrt(np.mean(np.square(usual))) == pytest.approx(1, abs=0.02)
    black = inspect_image(encoded(np.zeros((16, 16), np.uint8)), model).signals["embedding_distance"]
    assert black > 3 * max(usual)
