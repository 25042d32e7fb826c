"""Drafts of manifests for the forms of outputs that exporters write: recognised where sure, else one question."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import helper

from models import inspect_image, load_model
from models.draft import draft_manifest
from models.errors import ModelPackageError
from schemas.errors import SettingsError
from schemas.records import Verdict
from tests.support.linear_models import Values, linear_model, scored
from tests.support.packages import encoded

GIVEN = {"scale": "1", "threshold": "0.5", "labels": "dent,scratch", "provenance": "x", "licence": "x"}
FINISHED = {"task": "detect", "names": "{0: 'dent', 1: 'scratch'}", "end2end": "True"}
TOP_K = [
    helper.make_node("Reshape", ["pixels", "shape"], ["flat"]),
    helper.make_node("TopK", ["flat", "k"], ["best", "at"]),
]  # fmt: skip
MAP = scored(np.zeros((1, 1, 8, 8)), np.ones((1, 1, 8, 8)))
WHITE = encoded(np.full((8, 8), 255, np.uint8))


def rows(count: int = 20) -> tuple[Values, Values]:
    first, second = (np.zeros((1, count, 6), np.float32) for _ in range(2))
    first[0, 0], second[0, 0, 4] = [2, 2, 6, 6, 0, 1], 1
    return first, second


def separate(names: tuple[str, ...], batch: bool) -> dict[str, tuple[Values, Values]]:
    """Return outputs of a detector in the order boxes, scores, classes, number."""
    made = {
        names[0]: scored([[0.25, 0.25, 0.75, 0.75]], np.zeros((1, 4))), names[1]: scored([0], [1]),
        names[2]: scored([2], [0]),
    }  # fmt: skip
    if batch:
        made = {name: (first[None], second[None]) for name, (first, second) in made.items()}
    return made | ({names[3]: scored([1], [0])} if len(names) > 3 else {})


TENSORFLOW = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")


def with_top_k(data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    model.graph.node.extend(TOP_K)
    for name, value in (("shape", [1, -1]), ("k", [3])):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.int64(value), name))
    return model.SerializeToString()


FORMS: dict[str, tuple[bytes, Mapping[str, str], dict[str, Any]]] = {
    "finished rows of Ultralytics": (
        linear_model({"output0": rows()}, metadata=FINISHED), {"labels": ""},
        {"names": {"detections": "output0"}, "detection": {"box": "xyxy", "coordinates": "pixels"}},
    ),
    "rows of a graph that chooses": (
        with_top_k(linear_model({"out": rows()})), {"box": "xyxy", "coordinates": "pixels"},
        {"task": "detection", "names": {"detections": "out"}},
    ),
    "rows, by an answer": (
        linear_model({"out": rows()}), {"output": "detections=out", "box": "xyxy", "coordinates": "pixels"},
        {"task": "detection", "names": {"detections": "out"}},
    ),
    "TensorFlow": (
        linear_model(separate(TENSORFLOW, True)), {},
        {"task": "detection", "detection": {"box": "yxyx", "coordinates": "normalised", "first_class": 1}},
    ),
    "torchvision": (
        linear_model(separate(("boxes", "scores", "labels"), False)), {},
        {"task": "detection", "detection": {"box": "xyxy", "coordinates": "pixels", "first_class": 1}},
    ),
    "suppressed": (
        linear_model(separate(("det_boxes", "det_scores", "det_classes", "num_dets"), True)),
        {"box": "xyxy", "coordinates": "normalised", "first_class": "1", "suppression": "all_labels"},
        {"task": "detection", "detection": {"suppression": "all_labels", "first_class": 1}},
    ),
    "Anomalib": (
        linear_model({"pred_score": scored([0], [1]), "anomaly_map": MAP}),
        {"labels": "anomaly"}, {"task": "anomaly_map", "names": {"score": "pred_score", "map": "anomaly_map"}},
    ),
    "one number": (
        linear_model({"s": scored([0], [9])}), {"labels": "anomaly", "map_range": "0,9"},
        {"task": "anomaly_map", "names": {"score": "s"}, "anomaly": {"low": 0.0, "high": 9.0}},
    ),
    "class map": (
        linear_model({"m": scored(np.zeros((1, 8, 8)), np.ones((1, 8, 8)), "int64")}),
        {"labels": "background,dent", "min_area": "4"},
        {"task": "segmentation", "good_label": "background", "segmentation": {"min_area": 4.0}},
    ),
    "scores of places": (
        linear_model({"m": (np.zeros((1, 2, 8, 8), np.float32), np.ones((1, 2, 8, 8)) * [[[[0.1]], [[0.9]]]])}),
        {"labels": "good,dent", "tiles": "1x1", "activation": "none"},
        {"task": "segmentation", "names": {"scores": "m"}, "segmentation": {"min_area": 0.0}},
    ),
    "a threshold for each label": (
        linear_model({"p": scored([[0, 0]], [[0.3, 0.1]])}),
        {"activation": "none", "good_label": "", "label_thresholds": "dent=0.25,scratch=0.5"},
        {"task": "classification", "classification": {"label_thresholds": {"dent": 0.25, "scratch": 0.5}}},
    ),
    "half precision": (
        linear_model({"s": scored([0], [1], "float16")}, dtype="float16"), {"labels": "anomaly", "map_range": "0,1"},
        {"task": "anomaly_map", "input": {"dtype": "float16"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "given", "wanted"), FORMS.values(), ids=FORMS.keys())
def test_a_recognised_form_becomes_a_package(
    data: bytes, given: Mapping[str, str], wanted: dict[str, Any], tmp_path: Path
) -> None:
    answers = {name: text for name, text in (GIVEN | dict(given)).items() if name != "labels" or text}
    draft = draft_manifest(data, "m", answers)
    assert [question.line for question in draft.open] == []
    for key, value in wanted.items():
        found = draft.manifest["outputs"]["names"] if key == "names" else draft.manifest[key]
        assert found == value if key == "names" or not isinstance(value, dict) else found.items() >= value.items()
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(data)
    (folder / "manifest.yaml").write_text(yaml.safe_dump(dict(draft.manifest)), encoding="utf-8")
    assert inspect_image(WHITE, load_model(folder)).verdict is Verdict.NOT_OK


@pytest.mark.parametrize(
    ("data", "option", "words"),
    [
        (linear_model({"out": rows()}), "output", "detections=NAME for finished rows of x1, y1, x2, y2, score, class"),
        (
            linear_model(separate(("det_boxes", "det_scores", "det_classes"), True)), "box",
            "numbers of a box (xyxy, xywh, cxcywh or yxyx)",
        ),
        (
            linear_model({"m": scored(np.zeros((1, 8, 8)), np.ones((1, 8, 8)), "int64")}), "min-area",
            "least area of a region that is a defect, in pixels of the frame",
        ),
        (linear_model({"s": scored([0], [9])}), "map-range", "LOW,HIGH: values of the score for the scores 0 and 1"),
    ],
    ids=["rows or columns", "form of boxes", "least area", "range of a score"],
)  # fmt: skip
def test_a_form_that_is_not_sure_is_a_question(data: bytes, option: str, words: str) -> None:
    lines = [question.line for question in draft_manifest(data, "m", GIVEN).open]
    assert [line for line in lines if line.startswith(f"--{option}: ") and words in line], lines


def test_scores_of_labels_with_two_axes_too_many_are_no_map() -> None:
    data = linear_model({"p": scored(np.zeros((1, 2, 1, 1)), np.ones((1, 2, 1, 1)))})
    assert "task" in [question.option for question in draft_manifest(data, "m", GIVEN).open]


def test_five_numbers_and_objectness_are_no_finished_rows() -> None:
    """YOLOv5 of one label has rows of six numbers too."""
    data = linear_model({"out": (np.zeros((1, 2000, 6), np.float32), np.zeros((1, 2000, 6)))})
    assert "output" in [question.option for question in draft_manifest(data, "m", {**GIVEN, "task": "detection"}).open]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"label_thresholds": "dent"}, "--label-thresholds 'dent': LABEL=NUMBER"),
        ({"label_thresholds": "dent=2"}, "--label-thresholds '2': a number from 0 to 1"),
        ({"label_thresholds": "dent=x"}, "--label-thresholds 'x': a number"),
    ],
)
def test_answers_that_cannot_be_read(given: dict[str, str], line: str) -> None:
    data = linear_model({"p": scored([[0, 0]], [[0.3, 0.1]])})
    with pytest.raises(SettingsError, match=line):
        draft_manifest(data, "m", {**GIVEN, "activation": "none", "good_label": "", **given})


def test_a_first_class_that_is_no_number() -> None:
    data = linear_model(separate(("det_boxes", "det_scores", "det_classes"), True))
    for given, line in (
        ({"first_class": "2"}, "--first-class '2': 0 or 1"),
        ({"suppression": "some"}, "--suppression"),
    ):
        with pytest.raises(SettingsError, match=line):
            draft_manifest(data, "m", {**GIVEN, **given})


def test_thresholds_of_other_labels_are_refused() -> None:
    data = linear_model({"p": scored([[0, 0]], [[0.3, 0.1]])})
    given = {**GIVEN, "activation": "none", "good_label": "", "label_thresholds": "hole=0.5"}
    with pytest.raises(ModelPackageError, match="which is not one of the labels"):
        draft_manifest(data, "m", given)
