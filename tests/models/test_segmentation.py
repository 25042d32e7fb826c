"""Masks to regions, through real graphs: class maps, scores of labels, least areas, letterbox, tiles and garbage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from models import inspect_image, load_model
from models.explain import heat_map
from models.testing import check_model
from schemas.records import Action, ResultState, Verdict
from tests.support.agreement import INPUT, refused
from tests.support.linear_models import linear_model, scored
from tests.support.packages import MakePackage, encoded, graph_bytes
from tests.support.task_models import CASES

WHITE, BLACK = (encoded(np.full((16, 16), level, np.uint8)) for level in (255, 0))
THREE = {"labels": ["background", "dent", "scratch"], "good_label": "background"}
MASK, MASK_CHANGES = CASES["segmentation"][0](), CASES["segmentation"][1]


def segmented(names: dict[str, str], activation: str = "none", **options: Any) -> dict[str, Any]:
    return {
        "task": "segmentation", "outputs": {"names": names, "activation": activation},
        "segmentation": {"min_area": 0} | options, **THREE,
    }  # fmt: skip


def class_map(**places: tuple[slice, slice]) -> np.ndarray:
    """Return a map of 8x8 places with the class of each name, ``c1`` or ``c2``."""
    found = np.zeros((8, 8), np.int64)
    for name, place in places.items():
        found[place] = int(name[1:])
    return found


def as_scores(classes: np.ndarray) -> np.ndarray:
    """Return a score for each of three labels and place, 0.9 for the class."""
    return np.where(np.arange(3)[:, None, None] == classes, 0.9, 0.05)[None].astype(np.float32)


TWO_REGIONS = class_map(c2=np.s_[1:3, 2:6], c1=np.s_[6:7, 0:1])
FORMS = {
    "class map": (lambda m: (m[None], np.zeros((1, 8, 8))), {"class_map": "m"}, 1.0),
    "class map, one channel": (lambda m: (m[None, None], np.zeros((1, 1, 8, 8))), {"class_map": "m"}, 1.0),
    "class map, channel last": (lambda m: (m[None, ..., None], np.zeros((1, 8, 8, 1))), {"class_map": "m"}, 1.0),
    "class map in floats": (lambda m: (m[None].astype("f4"), np.zeros((1, 8, 8))), {"class_map": "m"}, 1.0),
    "class map in bytes": (lambda m: (m[None].astype("u1"), np.zeros((1, 8, 8))), {"class_map": "m"}, 1.0),
    "scores": (lambda m: (as_scores(m), np.full((1, 3, 8, 8), 1e-7)), {"scores": "m"}, 0.9),
    "scores, channels last": (
        lambda m: (np.moveaxis(as_scores(m), 1, -1), np.full((1, 8, 8, 3), 1e-7)), {"scores": "m"}, 0.9,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("form", "names", "score"), FORMS.values(), ids=FORMS.keys())
def test_regions_of_a_mask(form: Any, names: dict[str, str], score: float, make_package: MakePackage) -> None:
    model = load_model(make_package(linear_model({"m": form(TWO_REGIONS)}), **segmented(names)))
    found = inspect_image(WHITE, model)
    assert found.verdict is Verdict.NOT_OK
    assert found.score == pytest.approx(score, abs=1e-6)
    assert [(d.label, d.box_xywh) for d in found.defects] == [("scratch", (4, 2, 8, 4)), ("dent", (0, 12, 2, 2))]
    assert found.signals["defect_area"] == 9 * 4
    assert found.labels["background"] == pytest.approx(1 - score)
    assert heat_map(WHITE, model) is None


def test_small_regions_are_left_out(make_package: MakePackage) -> None:
    data = linear_model({"m": (TWO_REGIONS[None], np.zeros((1, 8, 8)))})
    for least, labels in ((4.0, ["scratch", "dent"]), (4.1, ["scratch"]), (33.0, [])):
        found = inspect_image(WHITE, load_model(make_package(data, **segmented({"class_map": "m"}, min_area=least))))
        assert [d.label for d in found.defects] == labels
        assert found.verdict is (Verdict.NOT_OK if labels else Verdict.OK)


def test_class_0_may_be_a_background_without_a_label(make_package: MakePackage) -> None:
    changes = segmented({"class_map": "m"}, first_class=1) | {"labels": ["dent", "scratch"], "good_label": None}
    data = linear_model({"m": (TWO_REGIONS[None], np.zeros((1, 8, 8)))})
    found = inspect_image(WHITE, load_model(make_package(data, **changes)))
    assert [d.label for d in found.defects] == ["scratch", "dent"]


def test_one_channel_is_the_score_of_the_bad_label(make_package: MakePackage) -> None:
    for labels in (["good", "bad"], ["bad", "good"]):
        model = load_model(make_package(MASK, **MASK_CHANGES, labels=labels, good_label="good"))
        assert [d.label for d in inspect_image(WHITE, model).defects] == ["bad"]
        assert inspect_image(BLACK, model).defects == ()


def test_softmax_is_over_the_labels(make_package: MakePackage) -> None:
    logits = (as_scores(TWO_REGIONS) * 10, np.zeros((1, 3, 8, 8)))
    found = inspect_image(
        WHITE, load_model(make_package(linear_model({"m": logits}), **segmented({"scores": "m"}, "softmax")))
    )
    assert [d.label for d in found.defects] == ["scratch", "dent"]
    assert found.score == pytest.approx(1 / (1 + 2 * np.exp(-8.5)), abs=1e-6)
    assert "say `activation: softmax`" in refused(
        make_package(linear_model({"m": logits}), **segmented({"scores": "m"}))
    )


def test_the_padding_of_a_letterbox_is_no_defect(make_package: MakePackage) -> None:
    whole = (np.ones((1, 8, 8), np.int64), np.zeros((1, 8, 8)))
    changes = segmented({"class_map": "m"}) | {"input": INPUT | {"resize": "letterbox"}}
    wide = encoded(np.full((8, 16), 9, np.uint8))
    found = inspect_image(wide, load_model(make_package(linear_model({"m": whole}), **changes)))
    assert [d.box_xywh for d in found.defects] == [(0, 0, 16, 8)]
    assert found.signals["defect_area"] == 16 * 8


def test_tiles_join_regions_of_one_label(make_package: MakePackage) -> None:
    frame = np.zeros((16, 32), np.uint8)
    frame[4:8, 10:22] = 255
    model = load_model(make_package(MASK, **MASK_CHANGES, input=INPUT | {"tiles": {"grid": [2, 1]}}))
    found = inspect_image(encoded(frame), model)
    assert [d.box_xywh for d in found.defects] == [(10, 4, 12, 4)]
    assert found.signals["defect_area"] == 48
    measured = MASK_CHANGES | {"segmentation": {"min_area": 5}, "input": INPUT | {"tiles": {"grid": [2, 1]}}}
    assert "with tiles say `min_area: 0`" in refused(make_package(MASK, **measured))


def test_a_region_of_interest_moves_the_regions(make_package: MakePackage) -> None:
    frame = np.zeros((32, 32), np.uint8)
    frame[20:24, 12:16] = 255
    frame[:4] = 255
    model = load_model(make_package(MASK, **MASK_CHANGES, input=INPUT | {"roi": {"box": [8, 16, 16, 16]}}))
    assert [d.box_xywh for d in inspect_image(encoded(frame), model).defects] == [(12, 20, 4, 4)]


def test_contract_of_a_map_that_is_often_empty(make_package: MakePackage) -> None:
    nothing = linear_model({"m": (np.zeros((1, 8, 8), np.int64), np.zeros((1, 8, 8)))})
    check_model(make_package(nothing, **segmented({"class_map": "m"})))


def whole(shape: tuple[int, ...], dtype: str = "int64", value: float = 0.0) -> dict[str, Any]:
    return {"m": scored(np.full(shape, value), np.zeros(shape), dtype)}


CLASSES, SCORES = segmented({"class_map": "m"}), segmented({"scores": "m"})
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "sides exchanged": (whole((1, 4, 8)), CLASSES, "wanted sides as those of the input, 8x8: export the mask without"),
    "a batch of two": (whole((2, 8, 8)), CLASSES, "for a batch of one or of any size"),
    "scores as classes": (whole((1, 3, 8, 8)), CLASSES, "name it in the role scores"),
    "classes as scores": (whole((1, 8, 8)), SCORES, "name it in the role class_map"),
    "a flat output": (whole((1, 64)), CLASSES, "wanted (1, h, w)"),
    "nothing": (whole((1, 0, 8)), CLASSES, "wanted (1, h, w)"),
    "a class of no label": (whole((1, 8, 8), value=3), CLASSES, "has the class 3, wanted 0 to 2"),
    "void": (whole((1, 8, 8), value=255), CLASSES, "has the class 255, wanted 0 to 2"),
    "a class that is a score": (whole((1, 8, 8), "float32", 0.5), CLASSES, "the class 0.5, which is not a whole"),
    "channels without labels": (whole((1, 5, 8, 8), "float32"), SCORES, "list one label for each channel"),
    "activation of classes": (
        whole((1, 8, 8)), segmented({"class_map": "m"}, "sigmoid"), "are final: say `activation: none`",
    ),
    "no block": (whole((1, 8, 8)), CLASSES | {"segmentation": None}, "a model of task segmentation needs this"),
    "no least area": (whole((1, 8, 8)), CLASSES | {"segmentation": {}}, "segmentation.min_area: Field required"),
    "hidden defects": (
        whole((1, 3, 8, 8), "float32"), segmented({"scores": "m"}, score_threshold=0.6), "would hide defects",
    ),
    "first_class of scores": (
        whole((1, 3, 8, 8), "float32"), segmented({"scores": "m"}, first_class=1), "first_class is for class numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("outputs", "changes", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_other_masks_end_in_one_line(
    outputs: dict[str, Any], changes: dict[str, Any], line: str, make_package: MakePackage
) -> None:
    assert line in refused(make_package(linear_model(outputs), **changes))


def test_a_mask_that_is_not_a_number_rejects(make_package: MakePackage) -> None:
    nodes = [
        helper.make_node("Div", ["image", "image"], ["share"]),
        helper.make_node("Mul", ["share", "one"], ["mask"]),
    ]
    data = graph_bytes(nodes, {"mask": ("n", 1, 8, 8)}, constants={"one": np.float32([1])})
    found = inspect_image(BLACK, load_model(make_package(data, **MASK_CHANGES)))
    assert (found.action, found.result_state, found.reason) == (
        Action.REJECT, ResultState.FAILED, "the model's output is not a number",
    )  # fmt: skip
