"""The recipe of pixels: small defects of boards that lie a little elsewhere in each image."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import inspect_image
from models.frame_pixels import FramePixels
from models.input_text import parse_roi, parse_tiles
from models.regions import Region
from models.runtime import make_session
from models.testing import check_model
from models.training.alignment import TrainingAlignment, find_alignment
from models.training.anomaly_fit import AnomalyFit
from models.training.features import FeatureExtractor, InspectedPart, PooledExtractor, input_spec
from models.training.graphs import IMAGE, anomaly_graph
from models.training.padim import Moments
from models.training.products import GoodParts, Scale
from models.training.read_images import measure_ms, read_images
from models.training.recipe import Recipe
from models.training.sentences import defect_lines, good_only_line, recipe_lines
from models.training.survey import Survey
from models.training.train import RECIPES, TrainingOptions, train
from models.training.write_package import write_package
from schemas import ResultState, Verdict
from schemas.errors import SettingsError
from schemas.records import Action
from tests.support.boards import BOARD_WH, board, moved_board
from tests.support.packages import encoded
from tests.support.parts import good_part

PIXELS = RECIPES[-1]
SMALL = Recipe("pixels", 128, (), 64, 3, pool=8)
OPTIONS = TrainingOptions(overkill=0.05, recipe="pixels")


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boards") / "good"
    folder.mkdir()
    for number in range(24):
        cv2.imwrite(str(folder / f"{number:02}.png"), moved_board(number))
    return folder


@pytest.mark.parametrize(("longest", "reach"), [(1, 15), (20, 31)])
def test_the_reach_follows_from_the_images(longest: int, reach: int, tmp_path: Path) -> None:
    """It is 3 % of the longer side, or more where the parts of the training lie further elsewhere."""
    for number, x in enumerate(np.linspace(-longest, longest, 9)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), board(number, shift=(float(x), 0.0)))
    found = find_alignment(sorted(tmp_path.iterdir()), input_spec(PIXELS, "grey", InspectedPart()))
    assert isinstance(found, TrainingAlignment)
    assert found.spec.reach == pytest.approx(reach, abs=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_graph_has_the_distances_of_the_training(channels: int) -> None:
    recipe, colour = dataclasses.replace(SMALL, channels=channels), "grey" if channels == 1 else "rgb"
    extractor = FeatureExtractor(recipe, colour)  # type: ignore[arg-type]
    images = [cv2.resize(board(number), (128, 128)) for number in range(6)]
    images = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if channels == 1 else image for image in images]
    seen = [FramePixels(image, (128, 128), Region(0, 0, 128, 128)) for image in images]
    features = np.concatenate([extractor.features(each) for each in seen])
    assert features.shape == (6, 64 * 64, channels)
    good = GoodParts((Moments.of(features[:5]).gaussians(recipe.least_deviation),), (Scale(),), recipe.pool)
    session = make_session(anomaly_graph(recipe, colour, good).SerializeToString(), 1)  # type: ignore[arg-type]
    tensors = np.concatenate([each.tensor(extractor.spec)[0] for each in seen])
    [found] = session.run(None, {IMAGE: tensors})
    assert found.shape == (6, 1, 8, 8)
    assert found.reshape(6, 64) == pytest.approx(good.distances(features), rel=0.01, abs=0.05)


def test_few_channels_have_the_moments_and_distances_of_many() -> None:
    rng = np.random.default_rng(0)
    patches = rng.normal(3, 2, (40, 5, 3)) @ rng.normal(0, 1, (3, 3))
    moments = Moments.of(patches.astype(np.float32))
    by_place = patches.astype(np.float32).astype(np.float64).transpose(1, 0, 2)
    assert moments.products == pytest.approx(by_place.transpose(0, 2, 1) @ by_place)
    gaussians = moments.gaussians(1.0)
    centred = patches.transpose(1, 0, 2) - gaussians.mean[:, None]
    wanted = np.linalg.norm(centred @ gaussians.whitening, axis=2).T
    assert gaussians.distances(patches.astype(np.float32)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(("seldom", "width"), [(0.0, 1), (0.02, 5)], ids=["all alike", "components that move"])
def test_components_that_move_are_no_defects(seldom: float, width: int) -> None:
    """Without averages, one place that seldom shows an edge makes the limit so high that no defect counts."""
    rng = np.random.default_rng(5)
    side, count = 32, 40
    parts = rng.normal(0, 1, (count + 20, side, side, 1))
    for part in parts[:, 8:24, 8:24]:
        part[rng.random((16, 16)) < seldom] += 25
    patches = parts.reshape(-1, side**2, 1).astype(np.float16)
    recipe = dataclasses.replace(SMALL, grid=side, channels=1, widths=(1, 5))
    fit = AnomalyFit(recipe, patches[:count], np.arange(count) % 5, 0.05)
    assert fit.width == width
    good = patches[count:]
    defective = good.copy()
    defective[:, 5] += 40
    rejected = [sum(fit.score(each[None]).max() >= fit.limit for each in kind) for kind in (good, defective)]
    assert rejected[0] <= 3
    assert rejected[1] == 20


def test_the_image_in_the_middle_is_the_one_to_align_to(tmp_path: Path) -> None:
    for number, shift in enumerate((-4, -3, 1, 4, 5)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), board(number, shift=(shift, 0)))
    files = sorted(tmp_path.iterdir())
    found = find_alignment(files, input_spec(PIXELS, "rgb", InspectedPart()))
    assert isinstance(found, TrainingAlignment)
    assert found.png == files[2].read_bytes()
    assert found.shift == pytest.approx(5, abs=0.5)
    assert found.degrees < 0.2


@pytest.mark.parametrize("kind", ["surface", "flat", "other parts", "broken"])
def test_images_that_are_not_alike_are_not_aligned(kind: str, tmp_path: Path) -> None:
    made = {
        "surface": lambda number: np.random.default_rng(number).integers(0, 255, (200, 300), np.uint8),
        "flat": lambda number: np.full((200, 300), 100 + number, np.uint8),
        "other parts": lambda number: board(number, layout=number),
    }
    for number in range(6):
        path = tmp_path / f"{number}.png"
        path.write_bytes(b"no image" if kind == "broken" else encoded(made[kind](number)))
    reasons = {
        "surface": "5 of 6 images cannot be laid over another: it is for parts that lie alike",
        "flat": "the picture has 0 corners at which it can be found again; 12 are needed",
        "other parts": "5 of 6 images cannot be laid over another: it is for parts that lie alike",
        "broken": "no image can be read",
    }
    assert find_alignment(sorted(tmp_path.iterdir()), input_spec(PIXELS, "grey", InspectedPart())) == reasons[kind]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"part": InspectedPart(tiles=parse_tiles("2x2"))}, "--recipe pixels: it compares whole images, without tiles"),
        ({"part": InspectedPart(parse_roi("0,0 90,0 0,90"))}, "--recipe pixels: a polygon is not aligned"),
    ],
)
def test_pixels_alone_that_cannot_be_tried_end_in_a_line(changes: dict[str, object], line: str, boards: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        train(boards, dataclasses.replace(OPTIONS, **changes))  # type: ignore[arg-type]
    assert str(caught.value) == line


def test_training_sees_a_jpeg_as_the_worker_does(tmp_path: Path) -> None:
    """A worker decodes a large JPEG at the scale that its model needs; other recipes need another scale."""
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 255, (150, 200), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), cv2.resize(image, (1000, 750), interpolation=cv2.INTER_CUBIC))
    files = sorted(tmp_path.iterdir())
    extractors = [FeatureExtractor(RECIPES[number], "grey") for number in (0, 3)]
    _, found = read_images(files, extractors, Survey(3), lambda *_: None, 1)
    for extractor, images in zip(extractors, found, strict=True):
        wanted = np.concatenate([extractor.features(extractor.read(path)) for path in files])
        assert np.array_equal(images.features, wanted)


@pytest.mark.long
def test_a_hole_that_was_not_drilled_is_found(boards: Path, tmp_path: Path) -> None:
    result = train(boards, OPTIONS)
    assert result.best.fit.recipe.name == "pixels"
    assert result.best.fit.unseen_maps(3).shape == (1, 64, 64)
    assert "images are aligned to one of them" in "\n".join(recipe_lines(result))
    model = write_package(result, tmp_path / "model", OPTIONS)
    assert sorted(path.name for path in model.path.iterdir()) == [
        "align.png", "manifest.yaml", "model.onnx", "report.html",
    ]  # fmt: skip
    assert model.manifest.training.provenance == "inspection train: distribution of pixels, recipe pixels"
    assert json.dumps(model.manifest.metrics)
    bad = [inspect_image(encoded(moved_board(100 + number, missing=True)), model) for number in range(10)]
    assert [found.verdict for found in bad].count(Verdict.NOT_OK) >= 9
    good = [inspect_image(encoded(moved_board(200 + number)), model).verdict for number in range(10)]
    assert good.count(Verdict.NOT_OK) <= 2
    other = inspect_image(encoded(moved_board(1, layout=1)), model)
    assert (other.result_state, other.action) == (ResultState.FAILED, Action.REJECT)
    width, height = bad[0].defects[0].box_xywh[2:]
    assert max(width, height) < BOARD_WH[0] / 8
    check_model(model.path)
    write_package(result, tmp_path / "model", OPTIONS, overwrite=True)


@pytest.mark.parametrize("recipe", ["pixels", ""])
def test_good_parts_that_cannot_be_aligned_count_as_overkill(
    recipe: str, boards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line rejects such parts, whether the recipe is the only one or one of several."""
    monkeypatch.setattr("models.training.train.RECIPES", (RECIPES[2], SMALL))
    shutil.copytree(boards, tmp_path / "good")
    cv2.imwrite(str(tmp_path / "good" / "other.png"), moved_board(1, layout=1))
    (tmp_path / "hole").mkdir()
    cv2.imwrite(str(tmp_path / "hole" / "0.png"), moved_board(50, missing=True))
    options = dataclasses.replace(OPTIONS, recipe=recipe)
    result = train(tmp_path, options)
    assert result.best.fit.recipe.name == "pixels"
    assert not result.survey.broken
    count, total = result.overkill
    assert (count - int(result.best.fit.rejected.sum()), total) == (1, 25)
    assert result.defects is not None
    assert result.defects.figures.overkill == result.overkill
    assert f"overkill {count / 25:.1%}" in good_only_line(result, options)
    lines = "\n".join(recipe_lines(result))
    assert "1 of 25 images of good parts cannot be aligned, such as good/other.png: such parts are rejected" in lines
    assert "to save memory" not in lines


@pytest.mark.long
def test_boards_that_leave_the_image_are_inspected_as_far_as_they_are_shown(tmp_path: Path) -> None:
    way = {"way": 20.0, "turn": 2.5}
    (tmp_path / "good").mkdir()
    for number in range(40):
        cv2.imwrite(str(tmp_path / "good" / f"{number:02}.png"), moved_board(number, **way))
    result = train(tmp_path / "good", OPTIONS)
    lines = "\n".join(recipe_lines(result))
    assert "of the picture is not inspected, at its edge: fewer than a quarter of the images show it" in lines
    model = write_package(result, tmp_path / "model", OPTIONS)
    bad = [inspect_image(encoded(moved_board(100 + each, missing=True, **way)), model).verdict for each in range(10)]
    assert bad.count(Verdict.NOT_OK) >= 9
    good = [inspect_image(encoded(moved_board(200 + each, **way)), model).verdict for each in range(20)]
    assert good.count(Verdict.NOT_OK) <= 3


@pytest.mark.long
def test_of_pixels_and_a_model_that_learns_defects_the_better_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.training.train.RECIPES", (RECIPES[0], PIXELS))
    for number in range(24):
        (tmp_path / "good").mkdir(exist_ok=True)
        (tmp_path / "hole").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "good" / f"{number:02}.png"), moved_board(number))
        cv2.imwrite(str(tmp_path / "hole" / f"{number:02}.png"), moved_board(50 + number, missing=True))
    cv2.imwrite(str(tmp_path / "hole" / "other.png"), moved_board(1, layout=1))
    options = TrainingOptions(overkill=0.05)
    result = train(tmp_path, options)
    assert [each.fit.recipe.name for each in result.tried] == ["places", "pixels"]
    assert result.best.fit.recipe.name == "pixels"
    assert result.defects is not None
    assert result.defects.figures.auroc > 0.95
    assert "learned from defective parts too" in "\n".join(defect_lines(result, options))
    [(path, reason)] = result.survey.broken
    assert path.name == "other.png"
    assert "does not match the picture" in reason


@pytest.mark.long
def test_pixels_and_a_head_are_one_graph(tmp_path: Path) -> None:
    for number in range(24):
        for name, missing in (("good", False), ("hole", True)):
            (tmp_path / name).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / name / f"{number:02}.png"), moved_board(number + 50 * missing, missing=missing))
    result = train(tmp_path, OPTIONS)
    assert result.learned is not None
    features_ms = measure_ms(result.best.extractor, result.best.extractor.read(result.paths[0]))
    assert result.best.image_ms > features_ms  # the backbone, which sees the whole image, takes some ms
    model = write_package(result, tmp_path / "model", OPTIONS)
    assert (model.manifest.task, model.manifest.input.align is None) == ("classification", False)
    assert "EfficientNet" in model.manifest.training.provenance
    assert "Apache-2.0" in model.manifest.training.licence
    best, head = result.best, result.learned.head
    pooled = PooledExtractor(best.extractor.recipe, best.extractor.colour, best.extractor.spec)
    for path in result.paths[:3]:
        image = best.extractor.read(path)
        of_map = best.fit.model.distances(best.extractor.features(image)).max()
        logit = head.logits(pooled.features(image)[0], of_map)
        assert inspect_image(path.read_bytes(), model).score == pytest.approx(1 / (1 + np.exp(-logit)), abs=0.005)
    new = [inspect_image(encoded(moved_board(100 + each, missing=True)), model).verdict for each in range(10)]
    assert new.count(Verdict.NOT_OK) >= 9
    good = [inspect_image(encoded(moved_board(200 + each)), model).verdict for each in range(20)]
    assert good.count(Verdict.NOT_OK) <= 2


@pytest.mark.long
def test_a_surface_has_no_recipe_of_pixels(tmp_path: Path) -> None:
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), good_part(number))
    result = train(tmp_path, TrainingOptions(overkill=0.05, max_ms=1))
    assert [name for name, _ in result.left_out].count("pixels") == 1
    assert result.best.fit.recipe.name == "places"
