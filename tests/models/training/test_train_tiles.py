"""A model that is trained with tiles finds defects that vanish in the whole image."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import Model, inspect_image
from models.input_text import parse_roi, parse_tiles
from models.manifest import Manifest
from models.training import read_images
from models.training.features import InspectedPart, PooledExtractor
from models.training.manifest_of_training import manifest_of
from models.training.products import scores_of
from models.training.result import TrainingResult
from models.training.sentences import defect_lines
from models.training.train import TrainingOptions, train
from models.training.write_package import write_package
from schemas import Verdict
from tests.support.defect_figures import a_test_of, figures
from tests.support.parts import good_part

#: Diameter of a hole, in pixels: one pixel of the network's input, and three in a tile of 3x2.
HOLE = 3
QUICK = TrainingOptions(overkill=0.05, time_budget_s=0.001)


def web(seed: int, *, hole: int = 0) -> np.ndarray:
    """Return a web of 640x480 pixels; with a dark hole of some pixels, not where tiles meet."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.normal(120, 12, (480, 640)).astype(np.float32), (0, 0), 1.5) * 1.5 - 60
    image = np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
    if hole:
        x, y = int(rng.integers(40, 560)), int(rng.integers(40, 400))
        cv2.circle(image, (x, y), hole // 2, 5, -1)
    return image


def encoded(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("webs") / "good"
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / f"{number:02}.png"), web(number))
    return folder


def trained(good: Path, out: Path, **part: object) -> tuple[TrainingResult, Model]:
    options = dataclasses.replace(QUICK, part=InspectedPart(**part))  # type: ignore[arg-type]
    result = train(good, options)
    return result, write_package(result, out, options)


@pytest.mark.long
def test_a_small_defect_needs_tiles(good: Path, tmp_path: Path) -> None:
    _, plain = trained(good, tmp_path / "plain")
    _, tiled = trained(good, tmp_path / "tiled", tiles=parse_tiles("3x2", 0.1))
    assert tiled.manifest.input.tiles == parse_tiles("3x2", 0.1)
    defects = [encoded(web(100 + number, hole=HOLE)) for number in range(8)]
    found = [
        [inspect_image(image, model).verdict for image in defects].count(Verdict.NOT_OK) for model in (plain, tiled)
    ]
    assert found[0] <= 4
    assert found[1] >= 7
    overkill = [inspect_image(encoded(web(200 + number)), tiled).verdict for number in range(10)]
    assert overkill.count(Verdict.NOT_OK) <= 3


@pytest.mark.long
def test_the_hint_names_a_command_that_exists(tmp_path: Path) -> None:
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), cv2.resize(good_part(number), (500, 400)))
    options = dataclasses.replace(QUICK, part=InspectedPart(tiles=parse_tiles("2x1", 0.1)))
    result = train(tmp_path, options)
    assert len(result.best.fit.scores) == len(result.paths) == 12
    assert result.best.fit.unseen_maps(3).shape == (2, 14, 14)
    manifest = manifest_of(result, options, "my-part", "0" * 64)
    assert manifest["input"]["tiles"] == {"grid": [2, 1], "overlap": 0.1}
    assert Manifest.model_validate_json(json.dumps(manifest)).input.tiles == parse_tiles("2x1", 0.1)
    result.best.synthetic = [dataclasses.replace(each, found=0.1) for each in result.best.synthetic]
    [hint] = [line for line in result.warnings if "synthetic" in line]
    assert hint.endswith("train with --tiles 4x2, or bring the camera closer")
    parse_tiles("4x2")
    result.defects = a_test_of(figures(0.8, 30), None)
    [_, hint] = result.warnings[:2]
    assert hint.startswith("accepts 30 of the 40 images of defective parts: train with --tiles 4x2, or")
    result.defects = a_test_of(figures(0.8, 8), None)
    assert not [line for line in result.warnings if line.startswith("accepts")]
    result.best.extractor.spec = result.best.extractor.spec.model_copy(update={"tiles": parse_tiles("2x4")})
    [hint] = [line for line in result.warnings if "synthetic" in line]
    assert hint.endswith("train with --tiles 4x4, or bring the camera closer")  # twice the rows would be too low
    result.best.extractor.spec = result.best.extractor.spec.model_copy(update={"tiles": parse_tiles("8x4")})
    [hint] = [line for line in result.warnings if "synthetic" in line]
    assert hint.endswith("bring the camera closer, or inspect a part of the image with --roi x,y,width,height")


@pytest.mark.long
def test_a_sample_of_tiles_has_the_scores_of_all(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dataclasses.replace(QUICK, part=InspectedPart(tiles=parse_tiles("2x2")))
    every = train(good, options)
    monkeypatch.setattr(read_images, "_FEATURE_BYTES", 12 * 2 * 14 * 14 * 120 * 2)
    sample = train(good, options)
    assert sample.best.fit.scores.shape == every.best.fit.scores.shape
    # Half of the tiles were learned from, all were scored.
    assert np.corrcoef(sample.best.fit.scores, every.best.fit.scores)[0, 1] > 0.5
    assert sample.best.fit.scores.mean() > 0.9 * every.best.fit.scores.mean()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    for number in range(12):
        for name, image in (("good", web(number)), ("hole", web(500 + number, hole=5))):
            (folder / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / name / f"{number:02}.png"), image)
    cv2.imwrite(str(folder / "hole" / "copy.png"), web(3))
    return folder


@pytest.mark.long
def test_defective_parts_are_learned_with_tiles(parts: Path, tmp_path: Path) -> None:
    options = dataclasses.replace(
        QUICK, part=InspectedPart(parse_roi("0,0 639,0 639,479 0,479"), parse_tiles("256x256px"))
    )
    result = train(parts, options)
    assert result.survey.in_both == 1
    assert result.learned is not None
    assert result.defects is not None
    assert len(result.defects.head_good) == len(result.defects.head_defective) == 12
    assert "learned from defective parts too" in "\n".join(defect_lines(result, options))
    result.max_ms = 0.001
    [warning] = [line for line in result.warnings if "--max-ms" in line]
    assert f"an image takes {result.best.image_ms:.0f} ms with the head" in warning
    model = write_package(result, tmp_path / "model", options)
    assert (model.manifest.input.roi, model.manifest.input.tiles) == (options.part.roi, options.part.tiles)
    assert model.manifest.task == "classification"
    found = [inspect_image(encoded(web(100 + each, hole=5)), model).verdict for each in range(8)]
    assert found.count(Verdict.NOT_OK) >= 7
    overkill = [inspect_image(encoded(web(200 + each)), model).verdict for each in range(10)]
    assert overkill.count(Verdict.NOT_OK) <= 2

    best, head = result.best, result.learned.head
    pooled = PooledExtractor(best.extractor.recipe, best.extractor.colour, best.extractor.spec)
    for path in result.paths[:3]:
        image = best.extractor.read(path)
        of_map = scores_of(best.fit.model.distances(best.extractor.features(image)))
        logits = head.logits(pooled.features(image), of_map)
        score = inspect_image(path.read_bytes(), model).score
        assert score == pytest.approx(1 / (1 + np.exp(-logits.max())), abs=0.005)


@pytest.mark.long
def test_of_very_many_tiles_a_sample_of_the_images_is_learned(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dataclasses.replace(QUICK, part=InspectedPart(tiles=parse_tiles("3x2")))
    monkeypatch.setattr("models.training.defects._MOST_TILES", 6 * 21)
    result = train(parts, options)
    assert result.defects is not None
    assert (len(result.defects.head_good), len(result.defects.head_defective)) == (11, 10)
    report = write_package(result, tmp_path / "model", options).path / "report.html"
    assert "hole/" in report.read_text(encoding="utf-8")
    monkeypatch.setattr("models.training.defects._MOST_TILES", 6 * 19)
    result = train(parts, options)
    assert result.learned is None
    assert "have too many tiles to learn from them" in "\n".join(defect_lines(result, options))
