"""Finished scores and finished detections in all forms that exporters write, through real graphs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from models import inspect_image, load_model
from models.explain import heat_map
from models.manifest import Manifest
from models.testing import check_model
from schemas.records import Action, ResultState, Verdict
from tests.support.agreement import refused
from tests.support.linear_models import linear_model, scored
from tests.support.packages import MakePackage, encoded, manifest_of
from tests.support.task_models import CASES

WHITE, BLACK = (encoded(np.full((8, 16), level, np.uint8)) for level in (255, 0))
TWO = ["dent", "scratch"]


def detector(names: dict[str, str], **options: Any) -> dict[str, Any]:
    """Return the changes of the manifest of a detection model."""
    block = {"score_threshold": 0.3} | options
    return {"task": "detection", "labels": TWO, "outputs": {"names": names}, "detection": block}


SEPARATE = {"boxes": "b", "scores": "s", "classes": "c"}
COUNTED = SEPARATE | {"count": "n"}
CORNERS = [[2, 2, 6, 6], [0, 0, 1, 1]]
#: Form -> outputs of the graph, and the manifest. A white image has one scratch, in the middle.
DETECTORS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "rows": (
        {"r": scored([[[2, 2, 6, 6, 0, 1], [0] * 6]], [[[0, 0, 0, 0, 1, 0], [0] * 6]])}, detector({"detections": "r"}),
    ),
    "rows without a batch": (
        {"r": scored([[2, 2, 6, 6, 0, 1], [0] * 6], [[0, 0, 0, 0, 1, 0], [0] * 6])}, detector({"detections": "r"}),
    ),
    "rows in half precision": (
        {"r": scored([[2, 2, 6, 6, 0, 1]], [[0, 0, 0, 0, 1, 0]], "float16")}, detector({"detections": "r"}),
    ),
    "rows, yxyx, shares": (
        {"r": scored([[0.25, 0.25, 0.75, 0.75, 0, 1]], [[0, 0, 0, 0, 1, 0]])},
        detector({"detections": "r"}, box="yxyx", coordinates="normalised"),
    ),
    "rows, classes from 1": (
        {"r": scored([[2, 2, 6, 6, 0, 2], [1, 1, 8, 8, 0, 0]], [[0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0]])},
        detector({"detections": "r"}, first_class=1),
    ),
    "TensorFlow": (
        {
            "b": scored([[[0.25, 0.25, 0.75, 0.75], [0, 0, 1, 1]]], np.zeros((1, 2, 4))),
            "s": scored([[0, 0]], [[1, 0]]), "c": scored([[2, 1]], [[0, 0]]), "n": scored([2], [0]),
        },
        detector(COUNTED, box="yxyx", coordinates="normalised", first_class=1),
    ),
    "torchvision": (
        {"b": scored(CORNERS, np.zeros((2, 4))), "s": scored([0, 0], [1, 0]), "c": scored([2, 1], [0, 0], "int64")},
        detector(SEPARATE, first_class=1),
    ),
    "counted": (
        {
            "b": scored([CORNERS], np.zeros((1, 2, 4))), "s": scored([[0, 0]], [[1, 1]]),
            "c": scored([[1, 99]], [[0, 0]], "int32"), "n": scored([[1]], [[0]], "int32"),
        },
        detector(COUNTED),
    ),
    "none counted when black": (
        {
            "b": scored([CORNERS], np.zeros((1, 2, 4))), "s": scored([[0.9, 0]], [[0, 0]]),
            "c": scored([[1, 0]], [[0, 0]]), "n": scored([0], [1], "int32"),
        },
        detector(COUNTED),
    ),
    "a column for the background": (
        {"b": scored([CORNERS[:1]], np.zeros((1, 1, 4))), "s": scored([[[1, 0, 0]]], [[[-1, 0, 1]]])},
        detector({"boxes": "b", "scores": "s"}, first_class=1),
    ),
    "overlaps of any label": (
        {
            "b": scored([[[2, 2, 6, 6], [2, 2, 6, 5.8]]], np.zeros((1, 2, 4))), "s": scored([[0, 0]], [[1, 0.9]]),
            "c": scored([[1, 0]], [[0, 0]]),
        },
        detector(SEPARATE, suppression="all_labels"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("outputs", "changes"), DETECTORS.values(), ids=DETECTORS.keys())
def test_forms_of_detections(outputs: dict[str, Any], changes: dict[str, Any], make_package: MakePackage) -> None:
    folder = make_package(linear_model(outputs), **changes)
    model = load_model(folder)
    check_model(folder, examples=[(WHITE, Verdict.NOT_OK), (BLACK, Verdict.OK)])
    found = inspect_image(WHITE, model)
    assert [(d.label, d.box_xywh) for d in found.defects] == [("scratch", pytest.approx((4, 2, 8, 4)))]
    assert inspect_image(BLACK, model).defects == ()


def test_finished_rows_are_not_suppressed_unless_stated(make_package: MakePackage) -> None:
    rows = {"r": scored([[2, 2, 6, 6, 0, 1], [2, 2, 6, 5.8, 0, 1]], [[0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0.9, 0]])}
    for suppression, count in ((None, 2), ("none", 2), ("each_label", 1)):
        model = load_model(make_package(linear_model(rows), **detector({"detections": "r"}, suppression=suppression)))
        assert len(inspect_image(WHITE, model).defects) == count


def test_boxes_outside_and_turned_round_stay_in_the_frame(make_package: MakePackage) -> None:
    rows = [[-9, -9, 99, 99], [20, 20, 30, 30], [6, 6, 2, 2]]
    outputs = {"r": scored([[*row, 0, 0] for row in rows], [[0, 0, 0, 0, 1, 0]] * 3)}
    found = inspect_image(WHITE, load_model(make_package(linear_model(outputs), **detector({"detections": "r"}))))
    assert [d.box_xywh for d in found.defects] == [(0, 0, 16, 8), (16, 8, 0, 0), (12, 6, 0, 0)]


SCORE = {"task": "anomaly_map", "outputs": {"names": {"score": "s"}}, "anomaly": {"low": 0.0, "high": 1.0}}


@pytest.mark.parametrize("shape", [(1,), (1, 1), (), (1, 1, 1, 1)])
def test_a_finished_score_is_one_number(shape: tuple[int, ...], make_package: MakePackage) -> None:
    model = load_model(make_package(linear_model({"s": (np.zeros(shape, np.float32), np.ones(shape))}), **SCORE))
    found = inspect_image(WHITE, model)
    assert (found.verdict, found.score, found.labels) == (Verdict.NOT_OK, 1.0, {"defect": 1.0})
    assert inspect_image(BLACK, model).verdict is Verdict.OK
    shown = heat_map(WHITE, model, steps=2)
    assert shown is not None
    assert shown.kind == "occlusion"


def test_a_score_beside_its_map(make_package: MakePackage) -> None:
    hot = np.zeros((1, 1, 4, 4), np.float32)
    hot[0, 0, 1, 2] = 1
    outputs = {"s": scored([0], [0.75]), "m": (np.zeros_like(hot), hot)}
    changes = SCORE | {"outputs": {"names": {"score": "s", "map": "m"}}}
    model = load_model(make_package(linear_model(outputs), **changes))
    found = inspect_image(WHITE, model)
    assert found.score == pytest.approx(0.75)
    assert [d.box_xywh for d in found.defects] == [(8, 2, 4, 2)]
    shown = heat_map(WHITE, model)
    assert shown is not None
    assert shown.kind == "anomaly"
    assert shown.values.max() > 0.5


def test_a_score_of_another_scale(make_package: MakePackage) -> None:
    data = linear_model({"s": scored([10], [30])})
    model = load_model(make_package(data, **SCORE | {"anomaly": {"low": 10.0, "high": 50.0}}))
    assert inspect_image(WHITE, model).score == pytest.approx(0.75)
    finished = linear_model({"s": scored([0], [1])})
    line = refused(make_package(finished, **SCORE | {"anomaly": {"low": 0.0, "high": 40.0}}))
    assert "anomaly.high: the finished scores of made-up pictures are from 0 to 1" in line


ROWS = detector({"detections": "r"})
#: Outputs, manifest, and the line that refuses the package.
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "seven numbers": ({"r": scored(np.zeros((1, 5, 7)), np.zeros((1, 5, 7)))}, ROWS, "leave out the seventh number"),
    "columns": ({"r": scored(np.zeros((1, 6, 84)), np.zeros((1, 6, 84)))}, ROWS, "transpose it at export"),
    "columns of labels": ({"r": scored(np.zeros((1, 8, 84)), np.zeros((1, 8, 84)))}, ROWS, "in the role predictions"),
    "a batch of two": ({"r": scored(np.zeros((2, 5, 6)), np.zeros((2, 5, 6)))}, ROWS, "for a batch of one"),
    "masks": ({"r": scored(np.zeros((1, 300, 38)), np.zeros((1, 300, 38)))}, ROWS, "masks and key points"),
    "a class of no label": (
        {"r": scored([[0, 0, 1, 1, 0.9, 7]], np.zeros((1, 6)))}, ROWS, "has the class 7, wanted 0 to 1: list a label",
    ),
    "a class below zero": (
        {"r": scored([[0, 0, 1, 1, 0.9, -1]], np.zeros((1, 6)))}, ROWS, "has the class -1, wanted 0 to 1",
    ),
    "a class that is a score": (
        {"r": scored([[0, 0, 1, 1, 0.9, 0.4]], np.zeros((1, 6)))}, ROWS, "has the class 0.4, which is not a whole",
    ),
    "score and class exchanged": (
        {"r": scored([[0, 0, 1, 1, 5, 0]], np.zeros((1, 6)))}, ROWS, "has the score 5 in its fifth column",
    ),
    "activation": (
        {"r": scored([[0] * 6], np.zeros((1, 6)))},
        ROWS | {"outputs": {"names": {"detections": "r"}, "activation": "sigmoid"}}, "final: say `activation: none`",
    ),
    "more than there are": (
        {
            "b": scored([CORNERS], np.zeros((1, 2, 4))), "s": scored([[0, 0]], [[0, 0]]),
            "c": scored([[0, 0]], [[0, 0]]), "n": scored([3], [0]),
        },
        detector(COUNTED), "the output has the number 3, wanted 0 to 2: leave `count` out",
    ),
    "two counts": (
        {
            "b": scored([CORNERS], np.zeros((1, 2, 4))), "s": scored([[0, 0]], [[0, 0]]),
            "c": scored([[0, 0]], [[0, 0]]), "n": scored([1, 1], [0, 0]),
        },
        detector(COUNTED), "the output has shape (2,), wanted (1,)",
    ),
    "classes from 1, not stated": (
        {
            "b": scored([CORNERS], np.zeros((1, 2, 4))), "s": scored([[0.9, 0]], [[0, 0]]),
            "c": scored([[2, 1]], [[0, 0]]),
        },
        detector(SEPARATE), "where classes count from one, say `first_class: 1`",
    ),
    "first_class of predictions": (
        {"p": scored(np.zeros((1, 6, 84)), np.zeros((1, 6, 84)))},
        detector({"predictions": "p"}, box="cxcywh", first_class=1), "first_class is for class numbers",
    ),
    "five scores": ({"s": scored(np.zeros((1, 5)), np.zeros((1, 5)))}, SCORE, "is of task classification, role scores"),
    "a map as score": ({"s": scored(np.zeros((1, 1, 8, 8)), np.zeros((1, 1, 8, 8)))}, SCORE, "in the role map"),
}  # fmt: skip


@pytest.mark.parametrize(("outputs", "changes", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_other_outputs_end_in_one_line(
    outputs: dict[str, Any], changes: dict[str, Any], line: str, make_package: MakePackage
) -> None:
    assert line in refused(make_package(linear_model(outputs), **changes))


@pytest.mark.parametrize("column", range(6))
def test_a_row_that_is_not_a_number_rejects(column: int, make_package: MakePackage) -> None:
    row = np.zeros((1, 6), np.float32)
    row[0, column] = np.nan
    found = inspect_image(BLACK, load_model(make_package(linear_model({"r": (row, np.zeros((1, 6)))}), **ROWS)))
    assert (found.action, found.result_state) == (Action.REJECT, ResultState.FAILED)


#: Manifests of the first version -> their recipes, as computed before the newer fields.
RECIPES = {
    "classification": (CASES["classification"][1], "1-b6d45507"),
    "anomaly_map": (CASES["anomaly_map"][1], "1-36e33663"),
    "detection": (CASES["detection"][1], "1-30855c5b"),
    "predictions": (
        {
            "task": "detection", "outputs": {"names": {"predictions": "p"}},
            "detection": {"score_threshold": 0.25, "box": "cxcywh"},
        },
        "1-627854d0",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "recipe"), RECIPES.values(), ids=RECIPES.keys())
def test_recipes_of_older_manifests_stay_what_they_were(changes: dict[str, Any], recipe: str) -> None:
    text = json.dumps(manifest_of(b"", **changes))
    assert Manifest.model_validate_json(text).recipe_revision == recipe


def test_no_boxes_at_all(make_package: MakePackage) -> None:
    for shape in ((1, 0, 6), (0, 6)):
        folder = make_package(linear_model({"r": (np.zeros(shape, np.float32), np.zeros(shape))}), **ROWS)
        assert inspect_image(WHITE, load_model(folder)).verdict is Verdict.OK
        check_model(folder)
