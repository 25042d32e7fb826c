"""A folder of images becomes a model package that tells good parts from defective ones."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import inspect_image
from models.input_text import parse_roi, parse_samples, parse_tiles
from models.training import read_images
from models.training.features import InspectedPart
from models.training.sentences import defect_lines
from models.training.synthetic import add_defect
from models.training.train import RECIPES, TrainingOptions, train
from models.training.write_package import write_package
from schemas import Verdict
from schemas.errors import SettingsError
from tests.support.parts import good_part

#: Time for one recipe only.
QUICK = TrainingOptions(overkill=0.05, time_budget_s=0.001)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "good"
    folder.mkdir()
    for number in range(60):
        cv2.imwrite(str(folder / f"{number:03}.png"), good_part(number))
    return folder


@pytest.mark.long
def test_good_parts_are_enough(good: Path, tmp_path: Path) -> None:
    stages: list[str] = []
    result = train(good, QUICK, lambda stage, done, total: stages.append(stage))
    model = write_package(result, tmp_path / "my part!", QUICK)
    assert {"reading images", "trying"} <= set(stages)
    assert (model.name, model.manifest.task, model.manifest.input.colour) == ("my-part", "anomaly_map", "grey")
    assert model.reference is not None

    def share_rejected(images: list[np.ndarray]) -> float:
        found = [inspect_image(cv2.imencode(".png", image)[1].tobytes(), model).verdict for image in images]
        return found.count(Verdict.NOT_OK) / len(found)

    new = [good_part(number) for number in range(1000, 1060)]
    defective = [add_defect(image, "speck", 0.12, np.random.default_rng(number)) for number, image in enumerate(new)]
    assert share_rejected(new) <= 0.2
    assert share_rejected(defective) >= 0.9


@pytest.mark.long
def test_folders_of_defects_are_a_test_and_useless_files_are_named(good: Path, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path / "OK")
    (tmp_path / "hole").mkdir()
    for number in range(9):
        image = add_defect(good_part(2000 + number), "patch", 0.15, np.random.default_rng(number))
        cv2.imwrite(str(tmp_path / "hole" / f"{number}.png"), image)
    shutil.copy(tmp_path / "OK" / "000.png", tmp_path / "OK" / "copy.png")
    (tmp_path / "OK" / "broken.png").write_bytes((good / "001.png").read_bytes()[:500])
    (tmp_path / "OK" / "empty.jpg").touch()
    (tmp_path / "OK" / "001.bmp").write_bytes(cv2.imencode(".bmp", good_part(1))[1].tobytes())
    result = train(tmp_path, QUICK)
    assert result.defects is not None
    assert result.defects.figures.auroc > 0.9
    assert result.defects.figures.escapes[1] == 9
    assert result.learned is None
    assert "9 different images of defective parts: a test only" in "\n".join(defect_lines(result, QUICK))
    lines = "\n".join(result.survey.lines(tmp_path))
    assert "60 of 64 images of good parts, grey: 200x160 (60)" in lines
    assert "2 files are exact copies of others and were left out" in lines
    assert "left out OK/broken.png" in lines
    assert "left out OK/empty.jpg" in lines


@pytest.mark.long
def test_colour_is_seen(tmp_path: Path) -> None:
    for number in range(12):
        image = cv2.merge([good_part(number), good_part(number) // 2, good_part(number)])
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    result = train(tmp_path, QUICK)
    assert result.survey.colour == "rgb"
    assert "12 good images are few" in "\n".join(result.warnings)


def test_a_link_that_leads_nowhere_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "dead.png").symlink_to("nowhere.png")
    with pytest.raises(SettingsError, match=r"10 are needed; left out \S+/dead\.png: No such file or directory$"):
        train(tmp_path, QUICK)


@pytest.mark.parametrize(("count", "line"), [(0, "has no images"), (1, "1 different image of"), (9, "10 are needed")])
def test_too_few_images_end_in_a_line(count: int, line: str, tmp_path: Path) -> None:
    for number in range(count):
        cv2.imwrite(str(tmp_path / f"{number}.png"), good_part(number))
    with pytest.raises(SettingsError, match=line):
        train(tmp_path, QUICK)


def test_a_folder_of_other_files_names_one(tmp_path: Path) -> None:
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number:02}.webp"), good_part(number))
    with pytest.raises(SettingsError, match=r"has no images but 12 other files, such as 00\.webp; PNG, JPEG"):
        train(tmp_path, QUICK)


@pytest.mark.long
def test_a_model_that_finds_nothing_is_called_no_good(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), rng.integers(100, 140, (1, 3000)).astype(np.uint8))
    result = train(tmp_path, QUICK)
    assert result.best.quality < 0.6
    assert "do not use this model" in result.warnings[0]


def test_remarks_on_the_images_are_warnings(tmp_path: Path) -> None:
    """A camera of 12 bits whose depth is not stated gives nearly black images: the worker says so, and the training."""
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), good_part(number).astype(np.uint16) * 16)
    [line] = [line for line in train(tmp_path, QUICK).warnings if "low-16-bit" in line]
    assert line.startswith("12 images, low-16-bit: its 16-bit samples stay below")
    assert re.match(r"[^:]*: its 16-bit samples stay below \d+ of 65535: state --bit-depth 12 if", line)
    stated = dataclasses.replace(QUICK, part=InspectedPart(samples=parse_samples(12, "low")))
    assert not [line for line in train(tmp_path, stated).warnings if "low-16-bit" in line]


def test_a_time_budget_that_is_exceeded_is_a_warning(good: Path) -> None:
    result = train(good, QUICK)
    assert len(result.tried) == 1
    [line] = [line for line in result.warnings if "--time-budget" in line]
    assert line.startswith(f"the training took {result.took_s:.0f} s, more than the 0.001 of --time-budget: ")
    result.time_budget_s = result.took_s
    assert not [line for line in result.warnings if "--time-budget" in line]


def test_copies_of_one_image_are_one_image(tmp_path: Path) -> None:
    for number in range(30):
        cv2.imwrite(str(tmp_path / f"{number}.png"), good_part(1))
    with pytest.raises(SettingsError, match="1 different image of"):
        train(tmp_path, QUICK)


@pytest.mark.long
def test_the_basis_of_the_limit_is_always_stated(good: Path) -> None:
    result = train(good, QUICK)
    assert "one folder in file order, in 5 blocks: images of other lots may give more overkill" in result.calibration


@pytest.mark.long
def test_lots_in_folders_are_the_blocks(tmp_path: Path) -> None:
    for number in range(48):
        (tmp_path / "good" / f"{number // 4:02}").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "good" / f"{number // 4:02}" / f"{number}.png"), good_part(number))
    result = train(tmp_path / "good", QUICK)
    assert (result.block_kind, len(np.unique(result.blocks))) == ("folder", 10)
    assert "10 lots or groups of lots" in result.calibration


@pytest.mark.long
def test_features_are_bounded_and_a_sample_is_learned_from(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_images, "_FEATURE_BYTES", 20 * 28 * 28 * 120 * 2)
    monkeypatch.setattr("models.training.train.RECIPES", RECIPES[:2])
    result = train(good, TrainingOptions(max_ms=1e6, time_budget_s=1e6))  # the machine may be slow
    fitted = {each.fit.recipe.name: len(each.fit.scores) for each in result.tried}
    assert fitted == {"places": 60, "surface": 20}
    assert len(result.paths) == fitted[result.best.fit.recipe.name]


def test_images_of_several_sizes_make_a_model_and_are_named(tmp_path: Path) -> None:
    for number in range(12):
        size_wh = (200, 160) if number % 2 else (400, 100)
        cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.resize(good_part(number), size_wh))
    result = train(tmp_path, QUICK)
    write_package(result, tmp_path / "model", QUICK)
    assert "the images have different proportions" in "\n".join(result.survey.lines(tmp_path))


@pytest.mark.long
def test_a_region_of_interest_is_all_that_is_learned_from(tmp_path: Path) -> None:
    folder = tmp_path / "good"
    folder.mkdir()

    def framed(part: np.ndarray, seed: int) -> np.ndarray:
        frame = np.random.default_rng(seed).integers(0, 256, (240, 320), np.uint8)
        frame[40:200, 60:260] = part
        return frame

    for number in range(20):
        cv2.imwrite(str(folder / f"{number:03}.png"), framed(good_part(number), number))
    options = dataclasses.replace(QUICK, part=InspectedPart(parse_roi("60,40,200,160")))
    model = write_package(train(folder, options), tmp_path / "model", options)
    assert model.manifest.input.roi == parse_roi("60,40,200,160")
    images = {
        "surroundings": framed(good_part(1), 99),
        "defect": framed(add_defect(good_part(1), "patch", 0.2, np.random.default_rng(1)), 1),
    }
    found = {name: inspect_image(cv2.imencode(".png", image)[1].tobytes(), model) for name, image in images.items()}
    assert found["surroundings"].verdict is Verdict.OK
    assert found["defect"].verdict is Verdict.NOT_OK


def test_images_without_the_region_are_named(good: Path) -> None:
    options = dataclasses.replace(QUICK, part=InspectedPart(parse_roi("150,0,100,100")))
    with pytest.raises(SettingsError, match="the region of interest 100x100 at 150,0 leaves the frame of 200x160"):
        train(good, options)


#: Part of each image, and the option that an error names.
UNFIT = {
    "roi": (InspectedPart(parse_roi("150,0,100,100")), "of 200x160 pixels: correct --roi"),
    "tiles": (InspectedPart(tiles=parse_tiles("500x500px")), "do not fit 200x160 pixels: correct --tiles"),
    "grid": (InspectedPart(tiles=parse_tiles("2x1000")), "does not fit 200x160 pixels: correct --tiles"),
    "window": (
        InspectedPart(samples=parse_samples(12, "low", "0,4095", None)),
        "the options state a window of 12-bit values, the image has 8 bits; correct --bit-depth, --alignment or",
    ),
    "bayer": (InspectedPart(samples=parse_samples(None, None, None, "RGGB")), "; correct --bayer if that is wrong"),
}


@pytest.mark.parametrize(("part", "line"), UNFIT.values(), ids=UNFIT.keys())
def test_options_that_fit_no_image_are_named(part: InspectedPart, line: str, tmp_path: Path) -> None:
    """There is no manifest yet that could be corrected."""
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.repeat(good_part(number)[:, :, None], 3, axis=2))
    with pytest.raises(SettingsError) as caught:
        train(tmp_path, dataclasses.replace(QUICK, part=part))
    assert line in str(caught.value)
    assert "manifest" not in str(caught.value)
