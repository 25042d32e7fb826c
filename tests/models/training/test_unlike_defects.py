"""Images of defective parts that differ from those of good parts by more than the defects."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training.survey import ImageForm, Survey
from models.training.synthetic import add_defect
from models.training.train import TrainingOptions, train
from schemas.records import Encoding
from tests.support.parts import good_part

PNG, BMP, JPEG = Encoding.PNG, Encoding.BMP, Encoding.JPEG
RNG = np.random.default_rng(0)
WARNING = "are unlike all good ones"


#: Fields of an `ImageForm`.
Form = tuple[Encoding, tuple[int, int]] | tuple[Encoding, tuple[int, int], bool]


def survey_of(good: list[Form], defective: list[Form]) -> Survey:
    survey, of_defects = (
        Survey(len(forms), forms=Counter(ImageForm(*form) for form in forms)) for forms in (good, defective)
    )
    survey.add(of_defects)
    return survey


@pytest.mark.parametrize(
    ("good", "defective", "is_named"),
    [
        ([(PNG, (9, 9))], [(PNG, (9, 9))], False),
        ([(PNG, (9, 9))], [(BMP, (9, 9))], False),
        ([(PNG, (9, 9))], [(JPEG, (9, 9))], True),
        ([(JPEG, (9, 9))], [(PNG, (9, 9))], True),
        ([(PNG, (9, 9)), (JPEG, (9, 9))], [(JPEG, (9, 9))], False),
        ([(PNG, (9, 9))], [(PNG, (9, 8))], True),
        ([(PNG, (9, 9))], [(PNG, (9, 9))] * 9 + [(PNG, (9, 8))], False),
        ([(PNG, (9, 9))], [(PNG, (9, 9))] * 8 + [(PNG, (9, 8))], True),
        ([(PNG, (9, height)) for height in range(1, 5)], [(PNG, (9, 9))], False),
        ([(PNG, (9, 9))], [], False),
        ([(PNG, (9, 9), True)], [(PNG, (9, 9))], True),
        ([(PNG, (9, 9))], [(PNG, (9, 9), True)], True),
        ([(PNG, (9, 9), True)], [(PNG, (9, 9), True)], False),
        ([(PNG, (9, 9), True), (PNG, (9, 9))], [(PNG, (9, 9))], False),
    ],
    ids=[
        "alike", "both lossless", "jpeg", "not jpeg", "both formats", "size", "a tenth", "more than a tenth",
        "parts of many sizes", "no defects", "grey", "colour", "both in colour", "good ones of both",
    ],
)  # fmt: skip
def test_forms(good: list[Form], defective: list[Form], is_named: bool) -> None:
    assert (WARNING in survey_of(good, defective).unlike) == is_named


def test_the_warning_names_the_forms() -> None:
    line = survey_of([(PNG, (640, 480))] * 30, [(JPEG, (640, 480))] * 12 + [(JPEG, (64, 48))]).unlike
    assert line.startswith(
        "13 of 13 images of defective parts are unlike all good ones, 640x480 JPEG (12), 64x48 JPEG (1)"
    )
    assert "instead of 640x480 PNG (30): " in line


@pytest.mark.parametrize("is_grey", [False, True])
def test_a_training_in_colour_warns_of_grey_ones(is_grey: bool, tmp_path: Path) -> None:
    for number in range(20):
        kind = "good" if number < 12 else "speck"
        (tmp_path / kind).mkdir(exist_ok=True)
        grey = good_part(number) if kind == "good" else add_defect(good_part(number), kind, 0.12, RNG)
        image = grey if kind == "speck" and is_grey else cv2.merge([grey, grey, grey // 2])
        cv2.imwrite(str(tmp_path / kind / f"{number:03}.png"), image)
    warnings = train(tmp_path, TrainingOptions(recipe="places")).warnings
    expected = ["8 of 8 images of defective parts are unlike all good ones, 200x160 PNG (8) instead of 200x160 PNG in "]
    assert [line[: len(expected[0])] for line in warnings if WARNING in line] == (expected if is_grey else [])


@pytest.mark.long
@pytest.mark.parametrize(("suffix", "is_named"), [(".png", False), (".jpg", True)])
def test_a_training_warns_of_them(suffix: str, is_named: bool, tmp_path: Path) -> None:
    for number in range(30):
        kind = "good" if number < 24 else "speck"
        (tmp_path / kind).mkdir(exist_ok=True)
        image = good_part(number)
        if kind == "speck":
            image = add_defect(image, kind, 0.12, np.random.default_rng(number))
        cv2.imwrite(str(tmp_path / kind / f"{number:03}{suffix if kind == 'speck' else '.png'}"), image)
    result = train(tmp_path, TrainingOptions(recipe="surface"))
    assert any(WARNING in line for line in result.warnings) == is_named
