"""Standardisation: light that differs between good parts hides no defect, and light that no good part has is one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models import Model, inspect_image
from models.runtime import make_session
from models.training.graphs import IMAGE, feature_graph
from models.training.recipe import Recipe
from models.training.sentences import recipe_lines
from models.training.standardisation import Standardisation
from models.training.train import TrainingOptions, train
from models.training.write_package import write_package
from schemas import Action
from tests.support.parts import good_part

OPTIONS = TrainingOptions(overkill=0.05, recipe="places")
STANDARDISATION = Standardisation((60.0, 150.0), (10.0, 60.0))


def lit(number: int, light: float) -> np.ndarray:
    return np.clip(good_part(number) * light, 0, 255).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("lit")
    (folder / "good").mkdir()
    for number, light in enumerate(np.linspace(0.7, 1.2, 40)):
        cv2.imwrite(str(folder / "good" / f"{number:02}.png"), lit(number, light))
    result = train(folder / "good", OPTIONS)
    assert result.best.fit.recipe.standardisation is not None
    assert [line for line in recipe_lines(result) if line.startswith("the mean brightness of good images differs")]
    return write_package(result, folder / "model", OPTIONS)


def test_images_of_the_same_brightness_are_taken_as_they_are(tmp_path: Path) -> None:
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), good_part(number))
    result = train(tmp_path, OPTIONS)
    assert result.best.fit.recipe.standardisation is None
    assert not [line for line in recipe_lines(result) if "brightness" in line]


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_the_same_part_in_other_light_has_the_same_features(colour: str) -> None:
    """With levels that are not rounded, and within the range, they are equal."""
    channels = 1 if colour == "grey" else 3
    part = np.random.default_rng(1).integers(40, 120, (1, channels, 224, 224)).astype(np.uint8)
    found = {}
    for standardisation in (None, STANDARDISATION):
        recipe = Recipe("places", 224, ("s2", "s3"), 14, 120, standardisation=standardisation)
        session = make_session(feature_graph(recipe, colour).SerializeToString(), 1)  # type: ignore[arg-type]
        found[standardisation] = [session.run(None, {IMAGE: image})[0] for image in (part, part * 2 - 50, part // 8)]
    plain, brighter, dark = found[None]
    assert np.abs(plain - brighter).max() > 1
    plain, brighter, dark = found[STANDARDISATION]
    assert np.abs(plain - brighter).max() < 1e-3
    assert np.abs(plain - dark).max() > 1, "no good part is as dark, and it still is"


def test_images_in_a_batch_do_not_change_each_other() -> None:
    recipe = Recipe("places", 224, ("s2", "s3"), 14, 120, standardisation=STANDARDISATION)
    session = make_session(feature_graph(recipe, "grey").SerializeToString(), 1)
    images = np.random.default_rng(1).integers(0, 255, (3, 1, 224, 224)).astype(np.uint8) // np.array(
        [1, 2, 3], np.uint8
    ).reshape(3, 1, 1, 1)
    [together] = session.run(None, {IMAGE: images})
    alone = np.concatenate([session.run(None, {IMAGE: image[None]})[0] for image in images], axis=1)
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_light_of_good_parts_is_no_defect_and_a_defect_is_one_in_any_light(model: Model) -> None:
    good = [
        inspect_image(png(lit(100 + number, light)), model) for number, light in enumerate(np.linspace(0.72, 1.18, 20))
    ]
    assert sum(each.action is Action.REJECT for each in good) <= 3
    for number, light in enumerate((0.72, 0.95, 1.18)):
        image = lit(200 + number, light)
        cv2.line(image, (70, 60), (110, 66), int(60 * light), 2)
        assert inspect_image(png(image), model).action is Action.REJECT


@pytest.mark.parametrize("light", [0.0, 0.2, 0.4, 1.45])
def test_light_that_no_good_part_has_is_a_defect(model: Model, light: float) -> None:
    assert inspect_image(png(lit(300, light)), model).action is Action.REJECT
