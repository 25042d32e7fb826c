"""One contract for all tasks, through real ONNX models, and what each task adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import inspect_image, load_model
from models.manifest import Manifest
from models.preprocess import Geometry
from models.tasks import TASKS
from models.tasks.finding import WrongShape
from models.testing import check_model
from schemas.records import Action, ResultState, Verdict
from tests.support.packages import MakePackage, encoded, manifest_of
from tests.support.task_models import ANOMALY, CASES, DETECTION, one_box, scaled_map

BROKEN = {"anomaly_map": lambda: scaled_map(float("nan")), "detection": lambda: one_box(float("nan"))}


@pytest.fixture(params=sorted(TASKS))
def case(request: pytest.FixtureRequest, make_package: MakePackage) -> Path:
    make_model, changes = CASES[request.param]
    return make_package(make_model(), **changes)


def test_every_task_has_a_case() -> None:
    assert set(CASES) == set(TASKS)


def test_contract(case: Path) -> None:
    sizes = [(8, 8), (32, 64), (1, 1)]
    white, black = ([encoded(np.full(size, level, np.uint8)) for size in sizes] for level in (255, 0))
    check_model(case, examples=[(each, Verdict.NOT_OK) for each in white] + [(each, Verdict.OK) for each in black])
    model = load_model(case)
    for picture in white:
        assert inspect_image(picture, model).action is Action.REJECT
    for picture in black:
        result = inspect_image(picture, model)
        assert (result.action, result.defects) == (Action.ACCEPT, ())
        assert result.threshold == model.manifest.decision.threshold


@pytest.mark.parametrize("task", BROKEN)
def test_not_a_number_is_rejected(make_package: MakePackage, task: str) -> None:
    model = load_model(make_package(BROKEN[task](), **CASES[task][1]))
    result = inspect_image(encoded(np.full((8, 8), 9, np.uint8)), model)
    assert (result.verdict, result.action) == (Verdict.NOT_DECIDABLE, Action.REJECT)
    assert result.result_state is ResultState.FAILED
    assert result.score is None


def spec(task: str, **changes: Any) -> Manifest:
    return Manifest.model_validate_json(json.dumps(manifest_of(b"", **(CASES[task][1] | changes))))


WHOLE = Geometry(8, 8, 1.0, 1.0)


def test_softmax_with_a_good_label() -> None:
    manifest = spec(
        "classification", labels=["fine", "crack", "stain"], good_label="fine",
        outputs={"names": {"scores": "logit"}, "activation": "softmax"},
    )  # fmt: skip
    found = TASKS["classification"]({"scores": np.float32([[0, np.log(2), 0]])}, manifest, WHOLE)
    assert found.score == pytest.approx(0.75)
    assert found.labels == pytest.approx({"fine": 0.25, "crack": 0.5, "stain": 0.25})


def test_one_logit_for_two_labels() -> None:
    manifest = spec("classification", labels=["fine", "bad"], good_label="fine")
    found = TASKS["classification"]({"scores": np.float32([[np.log(3)]])}, manifest, WHOLE)
    assert found.labels == pytest.approx({"fine": 0.25, "bad": 0.75})
    assert found.score == pytest.approx(0.75)


def test_a_hot_spot_is_boxed_in_frame_pixels() -> None:
    values = np.zeros((1, 1, 4, 4), np.float32)
    values[0, 0, 1, 2:4] = 255
    found = TASKS["anomaly_map"]({"map": values}, spec("anomaly_map"), Geometry(80, 40, 0.1, 0.2))
    assert found.score == 1.0
    assert [d.box_xywh for d in found.defects] == [pytest.approx((40, 10, 40, 10))]


def test_percentile_is_not_moved_by_one_hot_cell() -> None:
    values = np.zeros((1, 28, 28), np.float32)
    values[0, 3, 3] = 255
    manifest = spec("anomaly_map", anomaly=ANOMALY | {"score_percentile": 99.5})
    assert TASKS["anomaly_map"]({"map": values}, manifest, WHOLE).score == 0.0


def detect(boxes: Any, scores: Any, labels: list[str], **options: Any) -> list[tuple[str, tuple[float, ...]]]:
    manifest = spec("detection", labels=labels, detection=DETECTION | options)
    outputs = {"boxes": np.float32([boxes]), "scores": np.float32([scores])}
    return [(d.label, d.box_xywh) for d in TASKS["detection"](outputs, manifest, WHOLE).defects]


def test_overlaps_are_suppressed_within_a_label() -> None:
    boxes = [[0, 0, 4, 4], [0, 0, 4, 3.5], [0, 0, 4, 4], [5, 5, 8, 8]]
    scores = [[0.9, 0], [0.8, 0], [0, 0.7], [0.6, 0]]
    assert [name for name, _ in detect(boxes, scores, ["a", "b"])] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("kind", "box"), [("xyxy", [2, 2, 6, 4]), ("xywh", [2, 2, 4, 2]), ("cxcywh", [4, 3, 4, 2])]
)  # fmt: skip
@pytest.mark.parametrize("coordinates", ["pixels", "normalised"])
def test_box_formats(kind: str, box: list[float], coordinates: str) -> None:
    given = box if coordinates == "pixels" else [v / 8 for v in box]
    assert detect([given], [[0.9]], ["a"], box=kind, coordinates=coordinates) == [("a", (2, 2, 4, 2))]


def test_boxes_are_cut_to_the_frame() -> None:
    assert detect([[-5, -5, 50, 4]], [[0.9]], ["a"]) == [("a", (0, 0, 8, 4))]


def test_predictions_and_classes_say_the_same() -> None:
    names = ["a", "b"]
    boxes, scores = np.float32([[1, 1, 3, 3], [4, 4, 8, 8]]), np.float32([[0.9, 0.1], [0.2, 0.6]])
    fused = spec("detection", labels=names, outputs={"names": {"predictions": "p"}})
    indexed = spec("detection", labels=names, outputs={"names": {"boxes": "b", "scores": "s", "classes": "c"}})
    first = TASKS["detection"]({"predictions": np.hstack([boxes, scores]).T[None]}, fused, WHOLE)
    outputs = {"boxes": boxes[None], "scores": scores.max(axis=1)[None], "classes": np.array([[0, 1]])}
    second = TASKS["detection"](outputs, indexed, WHOLE)
    assert first.defects == second.defects
    assert first.score == pytest.approx(0.9)


@pytest.mark.parametrize("suppression", ["each_label", "all_labels", "none"])
def test_many_good_boxes_hide_no_defect(suppression: str) -> None:
    good = [[n % 20 * 3.0, n // 20 * 3.0, n % 20 * 3.0 + 2, n // 20 * 3.0 + 2] for n in range(400)]
    outputs = {
        "boxes": np.array([[*good, [62, 62, 64, 64]]], np.float32),
        "scores": np.array([[[0.9, 0.0]] * 400 + [[0.0, 0.6]]], np.float32),
    }
    options = DETECTION | {"score_threshold": 0.3, "suppression": suppression}
    manifest = spec("detection", labels=["hole", "scratch"], good_label="hole", detection=options)
    found = TASKS["detection"](outputs, manifest, WHOLE)
    assert [defect.label for defect in found.defects] == ["scratch"]
    assert found.score == pytest.approx(0.6)
    assert found.labels["hole"] == pytest.approx(0.9)


def test_no_boxes() -> None:
    assert detect(np.zeros((0, 4)), np.zeros((0, 1)), ["a"]) == []


WRONG = {
    "scores": ("classification", {"scores": np.zeros((1, 2))}),
    "flat map": ("anomaly_map", {"map": np.zeros((8, 8))}),
    "two maps": ("anomaly_map", {"map": np.zeros((1, 2, 8, 8))}),
    "empty map": ("anomaly_map", {"map": np.zeros((1, 1, 0, 8))}),
    "five numbers a box": ("detection", {"boxes": np.zeros((1, 3, 5)), "scores": np.zeros((1, 3, 1))}),
    "fewer scores": ("detection", {"boxes": np.zeros((1, 3, 4)), "scores": np.zeros((1, 2, 1))}),
}


@pytest.mark.parametrize(("task", "outputs"), WRONG.values(), ids=WRONG.keys())
def test_wrong_shapes(task: str, outputs: dict[str, Any]) -> None:
    with pytest.raises(WrongShape, match="has shape"):
        TASKS[task](outputs, spec(task), WHOLE)
