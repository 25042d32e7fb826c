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
WARNING = "are unlike all good ones"


def survey_of(
    good: list[tuple[Encoding, tuple[int, int]]], defective: list[tuple[Encoding, tuple[int, int]]]
) -> Survey:
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
    ],
    ids=[
        "alike", "both lossless", "jpeg", "not jpeg", "both formats", "size", "a tenth", "more than a tenth",
        "parts of many sizes", "no defects",
    ],
)  # fmt: skip
def test_forms(
    good: list[tuple[Encoding, tuple[int, int]]], defective: list[tuple[Encoding, tuple[int, int]]], is_named: bool
) -> None:
    assert (WARNING in survey_of(good, defective).unlike) == is_named


def test_the_warning_names_the_forms() -> None:
    line = survey_of([(PNG, (640, 480))] * 30, [(JPEG, (640, 480))] * 12 + [(JPEG, (64, 48))]).unlike
    assert line.startswith(
        "13 of 13 images of defective parts are unlike all good ones, 640x480 JPEG (12), 64x48 JPEG (1)"
    )
    assert "instead of 640x480 PNG (30): " in line


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
