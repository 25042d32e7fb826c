"""A region of interest decides alone: in the manifest, in the inspection, in training, and at each boundary."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from models import ImageError, ModelPackageError, inspect_image, load_model
from models.explain import heat_map
from models.input_text import parse_roi
from models.inspect_images import inspect_images, prepare
from models.manifest_file import ManifestFile
from models.opencv import cv2
from models.testing import check_model
from schemas import Verdict
from schemas.errors import SettingsError
from tests.support.packages import MakePackage, encoded, mean_classifier, scene
from tests.support.task_models import CASES

INPUT = {"name": "image", "width": 8, "height": 8, "colour": "grey", "dtype": "float32"}
ANY_SIZE = mean_classifier(shape=("n", 1, "height", "width"))
BOX = {"box": [40, 20, 16, 32]}
TRIANGLE = {"polygon": [[40, 20], [71, 20], [40, 51]]}

#: Region of interest -> text of the refusal.
GARBAGE = {
    "no box of numbers": ({"box": [1, 2, 3]}, "input.roi.box"),
    "zero area": ({"box": [0, 0, 0, 10]}, "input.roi.box.2: Input should be greater than or equal to 1"),
    "negative": ({"box": [-1, 0, 10, 10]}, "input.roi.box.0: Input should be greater than or equal to 0"),
    "beyond any frame": ({"box": [0, 0, 2_000_000, 10]}, "input.roi.box.2: Input should be less than"),
    "not a number": ({"box": [float("nan"), 0, 10, 10]}, "input.roi.box.0: Input should be a valid integer"),
    "a share": ({"box": [0.5, 0.5, 0.5, 0.5]}, "input.roi.box.0: Input should be a valid integer"),
    "two points": ({"polygon": [[0, 0], [9, 9]]}, "input.roi.polygon: Tuple should have at least 3 items"),
    "a line": ({"polygon": [[0, 0], [5, 5], [9, 9]]}, "input.roi.polygon: the polygon has no area"),
    "a knot": ({"polygon": [[0, 0], [20, 9], [9, 0], [0, 9]]}, "input.roi.polygon: the edges of the polygon cross"),
    "a corner twice": ({"polygon": [[0, 0], [9, 0], [0, 0], [0, 9]]}, "input.roi.polygon: the edges of the polygon"),
    "too many corners": ({"polygon": [[n, n * n] for n in range(65)]}, "Tuple should have at most 64 items"),
    "both": ({**BOX, **TRIANGLE}, "input.roi.polygon: a region of interest is either a box or a polygon"),
    "neither": ({}, "input.roi.polygon: a region of interest is either a box or a polygon"),
    "another word": ({**BOX, "circle": [1, 2, 3]}, "input.roi.circle: Extra inputs are not permitted"),
}


def bright(x: int, y: int, width: int, height: int, *, level: int = 255) -> np.ndarray:
    """A dark frame of 128x96 with a bright rectangle."""
    frame = np.zeros((96, 128), np.uint8)
    frame[y : y + height, x : x + width] = level
    return frame


@pytest.mark.parametrize(("roi", "reason"), GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_ends_in_one_line_at_loading(roi: object, reason: str, make_package: MakePackage) -> None:
    with pytest.raises(ModelPackageError) as caught:
        load_model(make_package(input={**INPUT, "roi": roi}))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(path.name for path in Path("models/zoo").iterdir() if path.is_dir()))
def test_recipes_of_packages_that_ship_stay_what_they_were(name: str) -> None:
    known = {"elpv_cells": "1-44936f85", "elpv_good_only": "1-8232362b", "elpv_stacked": "1-a70b31cf"}
    manifest = ManifestFile.read(Path("models/zoo") / name / "manifest.yaml").manifest
    assert manifest.recipe_revision == known[name]


@pytest.mark.parametrize("task", CASES)
def test_only_the_region_decides(task: str, make_package: MakePackage) -> None:
    model, changes = CASES[task]
    package = load_model(make_package(model(), **changes, input={**INPUT, "roi": BOX}))
    inside, outside = encoded(bright(*BOX["box"])), encoded(255 - bright(*BOX["box"]))
    found = inspect_image(inside, package)
    assert found.verdict is Verdict.NOT_OK
    assert inspect_image(outside, package).verdict is Verdict.OK
    for defect in found.defects:
        x, y, width, height = defect.box_xywh
        assert 40 <= x <= x + width <= 56
        assert 20 <= y <= y + height <= 52
    if task == "anomaly_map":
        assert found.defects[0].box_xywh == (40, 20, 16, 32)


@pytest.mark.parametrize("roi", [BOX, TRIANGLE])
def test_pixels_outside_change_nothing(roi: dict[str, object], make_package: MakePackage) -> None:
    model = load_model(make_package(input={**INPUT, "roi": roi}))
    frame = scene(128, 96)
    mask = np.zeros(frame.shape, np.uint8)
    corners = TRIANGLE["polygon"] if roi is TRIANGLE else [[40, 20], [55, 20], [55, 51], [40, 51]]
    cv2.fillPoly(mask, [np.array(corners, np.int32)], 255)
    other = np.where(mask == 255, frame, scene(128, 96, seed=5))
    first, second = inspect_image(encoded(frame), model), inspect_image(encoded(other), model)
    assert first == second
    assert first.signals["brightness"] != 0
    changed = frame.copy()
    changed[24:28, 44:48] ^= 255
    assert inspect_image(encoded(changed), model) != first


def test_the_rest_of_a_polygon_is_filled(make_package: MakePackage) -> None:
    model = load_model(make_package(ANY_SIZE, input={**INPUT, "width": 32, "height": 32, "pad": 7, "roi": TRIANGLE}))
    small = prepare(encoded(np.full((96, 128), 200, np.uint8)), model).small
    rows, columns = np.mgrid[:32, :32]
    np.testing.assert_array_equal(small, np.where(rows + columns <= 31, 200, 7))


@pytest.mark.parametrize("wh", [(1024, 512), (1022, 512)])
def test_a_jpeg_is_reduced_only_where_the_region_allows_it(wh: tuple[int, int], make_package: MakePackage) -> None:
    spec = {**INPUT, "width": 64, "height": 64}
    model = load_model(make_package(ANY_SIZE, input={**spec, "roi": {"box": [256, 128, 256, 256]}}))
    frame = scene(*wh)
    reduced = prepare(encoded(frame, ".jpg"), model)
    whole = prepare(encoded(frame[128:384, 256:512]), load_model(make_package(ANY_SIZE, input=spec)))
    assert np.abs(reduced.small.astype(int) - whole.small.astype(int)).mean() < 3
    odd = load_model(make_package(ANY_SIZE, input={**spec, "roi": {"box": [257, 128, 255, 255]}}))
    assert np.abs(prepare(encoded(frame, ".jpg"), odd).small.astype(int) - whole.small.astype(int)).mean() < 8


@pytest.mark.parametrize("size_wh", [(55, 96), (128, 51), (1, 1)])
def test_a_frame_that_does_not_contain_the_region_fails(size_wh: tuple[int, int], make_package: MakePackage) -> None:
    model = load_model(make_package(input={**INPUT, "roi": BOX}))
    data = encoded(np.zeros(size_wh[::-1], np.uint8))
    with pytest.raises(ImageError, match="the region of interest 16x32 at 40,20 leaves the frame") as caught:
        inspect_image(data, model)
    assert caught.value.kind == "outside-frame"
    assert "\n" not in str(caught.value)
    fits = encoded(np.zeros((52, 56), np.uint8))
    failed, passed = inspect_images([(data, None), (fits, None)], [model])
    assert isinstance(failed, ImageError)
    assert isinstance(passed, tuple)


def test_the_heat_map_covers_the_frame(make_package: MakePackage) -> None:
    model, changes = CASES["anomaly_map"]
    package = load_model(make_package(model(), **changes, input={**INPUT, "roi": {"box": [64, 48, 64, 48]}}))
    found = heat_map(encoded(np.full((96, 128), 255, np.uint8)), package)
    assert found is not None
    assert found.values.shape == (48, 64)
    assert found.values[:24].max() == found.values[:, :32].max() == 0
    assert found.values[24:, 32:].min() == 1
    model, changes = CASES["classification"]
    package = load_model(make_package(model(), **changes, input={**INPUT, "roi": {"box": [64, 48, 64, 48]}}))
    occluded = heat_map(encoded(scene(128, 96)), package, steps=3)
    assert occluded is not None
    assert occluded.values.shape == (48, 64)


def test_the_region_is_a_part_of_the_recipe_and_of_the_network(make_package: MakePackage) -> None:
    plain = load_model(make_package())
    part = load_model(make_package(input={**INPUT, "roi": BOX}))
    assert plain.recipe_revision != part.recipe_revision
    assert plain.network != part.network
    assert part.manifest.input.described()["roi"]["box"] == [40, 20, 16, 32]
    assert "roi" not in plain.manifest.input.described()
    other = dataclasses.replace(part, manifest=plain.manifest)
    assert other.network == plain.network


@pytest.mark.parametrize("roi", [BOX, TRIANGLE, {"box": [900, 700, 16, 32]}])
def test_the_contract_holds_for_a_region(roi: object, make_package: MakePackage) -> None:
    check_model(make_package(input={**INPUT, "roi": roi}))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1,2,3", "1,2,3,4,5", "0,0,0,9", "0,0,9,0", "-1,0,9,9", "1.5,0,9,9", "nan,0,9,9", "a,b,c,d", "1,2 3,4",
        "0,0 5,5 9,9", "0,0 9,0 1,2,3", "1,2,3,99999999", "²,0,9,9", "0,0,9,9 0,0,9,9", "0,0 9,9 9,0 0,9",
    ],
)  # fmt: skip
def test_a_text_that_is_no_region_ends_in_one_line(text: str) -> None:
    with pytest.raises(SettingsError, match="--roi") as caught:
        parse_roi(text)
    assert "\n" not in str(caught.value)


def test_a_region_goes_through_the_manifest_unchanged(make_package: MakePackage) -> None:
    for text in ("40,20,16,32", "40,20 71,20 40,51"):
        roi = parse_roi(text).model_dump(mode="json", exclude_none=True)
        manifest = ManifestFile.read(make_package(input={**INPUT, "roi": roi}) / "manifest.yaml").manifest
        assert manifest.input.roi == parse_roi(text)
        assert yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(roi)))) == roi
