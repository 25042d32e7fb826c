"""Import as a whole, with a framework that every machine of the tests has: the reference evaluator of ONNX."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from models import inspect_image, load_model
from models.errors import ImportRefused, ModelPackageError
from models.importers import import_model as module
from models.importers.import_model import ImportResult, import_model
from models.importers.sources import ModelSource
from schemas.errors import SettingsError
from tests.support.packages import encoded, mean_classifier, scene

SCRIPT = Path(__file__).parents[2] / "support" / "frameworks" / "convert_reference.py"
STATED = {
    "labels": "good,bad", "threshold": "0.5", "scale": "1", "activation": "sigmoid", "licence": "ours"
}  # fmt: skip


@pytest.fixture(autouse=True)
def _reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "script_of", lambda framework: SCRIPT)


def run(
    folder: Path,
    stem: str = "model",
    answers: Mapping[str, str] = STATED,
    python: str = sys.executable,
    limit_s: float = 60,
) -> ImportResult:
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for number in range(3):
        (images / f"{number}.png").write_bytes(encoded(scene(16, 12, seed=number)))
    path = folder / f"{stem}.onnx"
    path.write_bytes(mean_classifier())
    source = ModelSource(path, "reference", "tensorflow", "reference model")
    return import_model(
        source, images, folder / "out", answers, python=Path(python), time_limit_s=limit_s, overwrite=True
    )


def test_a_model_becomes_a_package(tmp_path: Path) -> None:
    made = run(tmp_path)
    assert made.parity.images == 3
    assert made.parity.score_difference < 1e-6
    loaded = load_model(tmp_path / "out")
    assert loaded.manifest.metrics["parity"]["images"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "model.onnx", "out"]


@pytest.mark.parametrize(
    "stated",
    [{"tiles": "2x1", "tile_overlap": "0.25"}, {"roi": "2,2,10,8"}, {"roi": "2,2 12,2 12,10", "tiles": "2x2"}],
    ids=["tiles", "roi", "polygon and tiles"],
)
def test_parts_of_a_frame_are_compared_tile_by_tile(stated: Mapping[str, str], tmp_path: Path) -> None:
    made = run(tmp_path, answers=STATED | stated)
    spec = load_model(tmp_path / "out").manifest.input
    assert (spec.tiles is not None, spec.roi is not None) == ("tiles" in stated, "roi" in stated)
    assert (made.parity.images, made.parity.own_resizing_difference) == (3, None)
    assert made.parity.score_difference < 1e-6
    with pytest.raises(ImportRefused, match="the package and the framework differ: scores by"):
        run(tmp_path, "other", answers=STATED | stated)


@pytest.mark.parametrize(
    ("stated", "line"),
    [
        ({"roi": "2,2,0,8"}, "roi"),
        ({"roi": "0,0,99,99"}, "leaves the frame of 16x12 pixels: correct --roi; or take the image out"),
        ({"tiles": "2by2"}, "tiles"),
        ({"tile_overlap": "0.1"}, "--tile-overlap is for --tiles"),
        ({"tiles": "40x40"}, "tiles"),
    ],
    ids=["empty", "outside", "no tiles", "overlap alone", "more tiles than pixels"],
)
def test_parts_that_do_not_fit_end_in_one_line(stated: Mapping[str, str], line: str, tmp_path: Path) -> None:
    with pytest.raises((ImportRefused, SettingsError), match=line) as caught:
        run(tmp_path, answers=STATED | stated)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_parity_does_not_change_the_recipe(tmp_path: Path) -> None:
    manifest = run(tmp_path).model.manifest
    assert manifest.model_copy(update={"metrics": {}}).recipe_revision == manifest.recipe_revision


def test_the_score_of_the_good_label_is_turned(tmp_path: Path) -> None:
    white, black = (encoded(scene(8, 8) * 0 + value) for value in (120, 80))
    loaded = run(tmp_path, answers={**STATED, "labels": "bad,good"}).model
    first, second = (inspect_image(image, loaded) for image in (white, black))
    assert first.labels["good"] == pytest.approx(0.88, abs=0.01)
    assert first.score == pytest.approx(1 - 0.88, abs=0.01)
    assert second.score == pytest.approx(0.88, abs=0.01)


@pytest.mark.parametrize(
    ("stem", "limit_s", "line"),
    [
        ("slow", 2, "the conversion took over 2 s: --time-limit allows more"),
        ("refused", 60, "it has two heads"),
        ("broken", 60, "does not convert the model: RuntimeError: line one line two"),
        ("crash", 60, "does not convert the model: Segmentation fault"),
        ("online", 60, "Permission denied"),
        ("other", 60, "the package and the framework differ: scores by"),
    ],
)
def test_faults_end_in_one_line_and_leave_nothing(stem: str, limit_s: float, line: str, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused) as caught:
        run(tmp_path, stem, limit_s=limit_s)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["images", f"{stem}.onnx"])


def test_an_interpreter_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="--python /none: No such file"):
        run(tmp_path, python="/none")


def test_a_package_that_is_there_stays_if_the_import_fails(tmp_path: Path) -> None:
    run(tmp_path)
    before = (tmp_path / "out" / "manifest.yaml").read_bytes()
    with pytest.raises(ImportRefused):
        run(tmp_path, "other")
    assert (tmp_path / "out" / "manifest.yaml").read_bytes() == before


def test_facts_that_are_missing_are_asked_for_each_with_its_option(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused) as caught:
        run(tmp_path, answers={"scale": "1"})
    options = [line.partition(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert options == ["--threshold", "--labels", "--activation", "--licence"]


def test_messages_name_the_place_of_the_package(tmp_path: Path) -> None:
    with pytest.raises(ModelPackageError, match=r"out/manifest\.yaml:\d+: "):
        run(tmp_path, answers={**STATED, "labels": "good,bad,worse"})
