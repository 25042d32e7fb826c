"""Several labels at the same time, each with a threshold of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import inspect_image, load_model
from models.tasks.label_thresholds import stretch
from schemas.records import Verdict
from tests.support.agreement import INPUT, refused
from tests.support.linear_models import linear_model, scored
from tests.support.packages import MakePackage, encoded

WHITE = encoded(np.full((8, 8), 255, np.uint8))
SHARES = st.floats(0, 1)


def several(thresholds: dict[str, float], **changes: Any) -> dict[str, Any]:
    """Return the changes of the manifest of a model of three labels."""
    made = {
        "labels": ["dent", "scratch", "stain"], "outputs": {"names": {"scores": "p"}},
        "classification": {"label_thresholds": thresholds},
    }  # fmt: skip
    return made | changes


def probabilities(*values: float) -> bytes:
    return linear_model({"p": scored([[0.0] * len(values)], [values])})


def test_the_label_that_is_most_over_its_threshold_decides(make_package: MakePackage) -> None:
    data = probabilities(0.6, 0.25, 0.1)
    for thresholds, score in (
        ({"dent": 0.7}, pytest.approx(0.6 / 0.7 / 2)),
        ({"dent": 0.7, "scratch": 0.2}, pytest.approx(0.5 + 0.05 / 0.8 / 2)),
        ({"dent": 1.0, "scratch": 1.0, "stain": 0.1}, pytest.approx(0.5)),
    ):
        found = inspect_image(WHITE, load_model(make_package(data, **several(thresholds))))
        assert found.score == score
        assert found.labels == pytest.approx({"dent": 0.6, "scratch": 0.25, "stain": 0.1})
        assert (found.verdict is Verdict.NOT_OK) == (found.score >= 0.5)


def test_the_label_of_good_parts_does_not_count(make_package: MakePackage) -> None:
    changes = several({"scratch": 0.2}, labels=["good", "scratch", "stain"], good_label="good")
    model = load_model(make_package(probabilities(0.9, 0.1, 0.1), **changes))
    assert inspect_image(WHITE, model).verdict is Verdict.OK


def test_tiles_name_the_label_that_decides(make_package: MakePackage) -> None:
    changes = several({"dent": 0.9, "scratch": 0.1}, input=INPUT | {"tiles": {"grid": [2, 1]}})
    model = load_model(make_package(probabilities(0.6, 0.2, 0.0), **changes))
    wide = encoded(np.full((8, 16), 255, np.uint8))
    assert {defect.label for defect in inspect_image(wide, model).defects} == {"scratch"}


def test_thresholds_change_the_recipe_and_their_absence_does_not(make_package: MakePackage) -> None:
    data = probabilities(0.6, 0.2, 0.1)
    plain = load_model(make_package(data, **several({}, classification=None)))
    other = load_model(make_package(data, **several({"dent": 0.7})))
    assert plain.recipe_revision != other.recipe_revision


REFUSED = {
    "another label": ({"hole": 0.5}, {}, "label_thresholds has 'hole', which is not one of the labels"),
    "the good label": ({"dent": 0.5}, {"good_label": "dent"}, "'dent', the label of good parts: leave it out"),
    "zero": ({"dent": 0.0}, {}, "classification.label_thresholds.dent: Input should be greater than 0"),
    "over one": ({"dent": 1.5}, {}, "Input should be less than or equal to 1"),
    "none": ({}, {}, "classification.label_thresholds: Dictionary should have at least 1 item"),
}


@pytest.mark.parametrize(("thresholds", "changes", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_garbage_ends_in_one_line(
    thresholds: dict[str, float], changes: dict[str, Any], line: str, make_package: MakePackage
) -> None:
    assert line in refused(make_package(probabilities(0.6, 0.2, 0.1), **several(thresholds, **changes)))


@given(SHARES, st.floats(1e-6, 1), SHARES)
def test_a_score_is_over_the_common_threshold_if_it_is_over_its_own(score: float, own: float, common: float) -> None:
    stretched = stretch(score, own, common)
    assert 0 <= stretched <= 1
    if common > 0:
        assert (stretched >= common) == (score >= own)
