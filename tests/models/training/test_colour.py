"""Colour of a training: a model that sees grey accepts each defect that is as bright as the good part."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models import inspect_image
from models.training.read_images import find_colour
from models.training.train import RECIPES, TrainingOptions, train
from models.training.write_package import write_package
from schemas import Verdict
from tests.support.parts import good_part

#: Marks as bright as each other, BGR.
GREEN, RED = (60.0, 150.0, 60.0), (40.0, 60.0, 235.0)


def marked(number: int, colour: tuple[float, float, float]) -> np.ndarray:
    """Return a grey part with a small mark in colour, 1 % of its area, seen by a camera with some noise."""
    image = cv2.merge([good_part(number)] * 3)
    cv2.circle(image, (100, 45), 8, colour, -1, cv2.LINE_AA)
    noise = np.random.default_rng(number).normal(0, 2, image.shape[:2])[..., None]
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def tinted(number: int) -> np.ndarray:
    """Return a part without colour as a colour camera shows it: one channel is a little brighter at one side."""
    image = cv2.merge([good_part(number)] * 3)
    image[:, :80, 2] += 4
    return image


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (good_part(1), "grey"),
        (cv2.merge([good_part(1)] * 3), "grey"),
        (marked(1, GREEN), "rgb"),
        (tinted(1), "rgb"),
    ],
    ids=["grey", "grey in three channels", "small mark", "neutral"],
)
def test_only_equal_channels_are_grey(image: np.ndarray, colour: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"part{suffix}"
    assert cv2.imwrite(str(path), image)
    assert {find_colour([path], recipe) for recipe in RECIPES} == {colour}


def test_a_small_mark_of_another_colour_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    for number in range(30):
        cv2.imwrite(str(tmp_path / "good" / f"{number:02}.png"), marked(number, GREEN))
    options = TrainingOptions(overkill=0.05, recipe="places")
    model = write_package(train(tmp_path / "good", options), tmp_path / "model", options)

    def verdicts(colour: tuple[float, float, float]) -> list[Verdict]:
        images = [marked(number, colour) for number in range(1000, 1020)]
        return [inspect_image(cv2.imencode(".png", image)[1].tobytes(), model).verdict for image in images]

    assert set(verdicts(RED)) == {Verdict.NOT_OK}
    assert verdicts(GREEN).count(Verdict.OK) >= 16
