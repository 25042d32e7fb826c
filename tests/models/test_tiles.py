"""Tiles: the worst one decides, in frame pixels, with bounded memory, live and in replay."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from pydantic import ValidationError

from models import ImageError, Model, ModelPackageError, inspect_image, load_model
from models.explain import heat_map
from models.image_limits import BUDGET
from models.input_text import parse_tiles
from models.inspect_images import inspect_images
from models.manifest import DecisionRule
from models.measure_reference import measure_reference
from models.merge_tiles import TileFindings
from models.regions import Region
from models.signals import signals
from models.tasks import Finding
from models.testing import check_model
from models.tile_spec import MAX_TILES, TileSpec
from schemas import ResultState, Verdict
from schemas.errors import SettingsError
from schemas.records import Action, Defect
from tests.support.packages import MakePackage, encoded, graph_bytes, scene
from tests.support.task_models import CASES

INPUT = {"name": "image", "width": 8, "height": 8, "colour": "grey", "dtype": "float32"}
GRID = {"grid": [4, 3]}

#: Tiles -> text of the refusal at loading.
GARBAGE = {
    "no tiles": ({"grid": [0, 0]}, "input.tiles.grid.0: Input should be greater than or equal to 1"),
    "too many": ({"grid": [64, 64]}, "input.tiles.grid: 64x64 are more than 2048 tiles"),
    "far too many": ({"grid": [9999, 1]}, "input.tiles.grid.0: Input should be less than or equal to 2048"),
    "one number": ({"grid": [2]}, "input.tiles.grid"),
    "no size": ({"size": [0, 64]}, "input.tiles.size.0: Input should be greater than or equal to 1"),
    "overlap of all": ({**GRID, "overlap": 1.0}, "input.tiles.overlap: Input should be less than 1"),
    "overlap below 0": ({**GRID, "overlap": -0.1}, "input.tiles.overlap: Input should be greater than or equal to 0"),
    "overlap not a number": ({**GRID, "overlap": float("nan")}, "input.tiles.overlap: Input should be a finite number"),
    "not a number": ({"grid": [float("nan"), 1]}, "input.tiles.grid.0: Input should be a valid integer"),
    "both": ({**GRID, "size": [64, 64]}, "input.tiles.size: tiles have either a grid or a size"),
    "neither": ({"overlap": 0.5}, "input.tiles.size: tiles have either a grid or a size"),
}


def tiled(make_package: MakePackage, task: str = "classification", **fields: Any) -> Model:
    model, changes = CASES[task]
    return load_model(make_package(model(), **changes, input={**INPUT, **fields}))


def spotted(x: int, y: int, *, wh: tuple[int, int] = (128, 96), side: int = 8) -> np.ndarray:
    """A dark frame with a bright spot."""
    frame = np.full(wh[::-1], 20, np.uint8)
    frame[y : y + side, x : x + side] = 255
    return frame


@pytest.mark.parametrize(("tiles", "reason"), GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_ends_in_one_line_at_loading(tiles: object, reason: str, make_package: MakePackage) -> None:
    with pytest.raises(ModelPackageError) as caught:
        load_model(make_package(input={**INPUT, "tiles": tiles}))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tiles", "reason"),
    [
        ({"size": [64, 16]}, "tiles of 64x16 pixels do not fit 32x32 pixels"),
        ({"grid": [33, 1]}, "a grid of 33x1 tiles does not fit 32x32 pixels"),
        ({"size": [2, 2], "overlap": 0.99}, ""),
    ],
)
def test_tiles_must_fit_the_region_of_interest(tiles: object, reason: str, make_package: MakePackage) -> None:
    roi = {"box": [0, 0, 32, 32]}
    if not reason:
        tiled(make_package, roi=roi, tiles=tiles)
        return
    with pytest.raises(ModelPackageError, match=reason):
        tiled(make_package, roi=roi, tiles=tiles)


@pytest.mark.parametrize(
    ("tiles", "wh", "reason"),
    [
        ({"size": [64, 64]}, (63, 200), "tiles of 64x64 pixels do not fit 63x200 pixels"),
        ({"grid": [2, 2]}, (1, 1), "a grid of 2x2 tiles does not fit 1x1 pixels"),
        ({"size": [4, 4]}, (400, 400), "400x400 pixels make 100x100 tiles, more than 2048"),
        ({"size": [64, 64], "overlap": 0.999}, (640, 480), "tiles, more than 2048"),
    ],
)
def test_a_frame_that_does_not_fit_fails(
    tiles: object, wh: tuple[int, int], reason: str, make_package: MakePackage
) -> None:
    model = tiled(make_package, tiles=tiles)
    [found] = inspect_images([(encoded(np.zeros(wh[::-1], np.uint8)), None)], [model])
    assert isinstance(found, ImageError)
    assert found.kind == "tiles-do-not-fit"
    assert reason in str(found)
    assert "\n" not in str(found)
    assert BUDGET.used_bytes == 0


@given(
    st.integers(1, 3000), st.integers(1, 3000), st.one_of(st.integers(1, 40), st.integers(1, 3000)), st.booleans(),
    st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_tiles_cover_every_pixel_and_nothing_else(
    width: int, height: int, number: int, is_grid: bool, overlap: float
) -> None:
    wanted = (number, 1 + number % 3)
    try:
        spec = TileSpec(grid=wanted if is_grid else None, size=None if is_grid else wanted, overlap=overlap)
        columns, rows = spec.spans((width, height))
    except (ValidationError, ValueError):
        return
    assert len(columns) * len(rows) <= MAX_TILES
    for spans, length in ((columns, width), (rows, height)):
        assert len({side for _, side in spans}) == 1
        assert (spans[0][0], sum(spans[-1])) == (0, length)
        assert all(after[0] <= sum(before) for before, after in pairwise(spans))
    if is_grid:
        assert (len(columns), len(rows)) == wanted
    else:
        assert all(sum(before) - after[0] >= math.floor(overlap * before[1]) - 1 for before, after in pairwise(columns))


@pytest.mark.parametrize("task", CASES)
def test_the_worst_tile_decides(task: str, make_package: MakePackage) -> None:
    whole, model = tiled(make_package, task), tiled(make_package, task, tiles=GRID)
    frame = scene(128, 96)
    frame[70:78, 100:108] = 255
    parts = {
        (x, y): inspect_image(encoded(frame[y : y + 32, x : x + 32]), whole)
        for y in (0, 32, 64)
        for x in (0, 32, 64, 96)
    }
    found = inspect_image(encoded(frame), model)
    assert found.score == max(each.score or 0 for each in parts.values())
    assert found.verdict is Verdict.NOT_OK
    assert found.signals["score"] == found.score
    for name in ("brightness", "contrast", "sharpness", "noise", "edge_density"):
        assert found.signals[name] == pytest.approx(np.mean([each.signals[name] for each in parts.values()]))
    assert found.signals["dhash_hi"] == signals(frame)["dhash_hi"]
    for defect in found.defects:
        x, y, width, height = defect.box_xywh
        assert 0 <= x <= x + width <= 128
        assert 0 <= y <= y + height <= 96


@pytest.mark.parametrize("task", CASES)
def test_a_spot_is_found_where_it_is(task: str, make_package: MakePackage) -> None:
    model = tiled(make_package, task, tiles={"grid": [8, 6]})
    found = inspect_image(encoded(spotted(64, 48, side=16)), model)
    assert found.verdict is Verdict.NOT_OK
    assert inspect_image(encoded(spotted(0, 0, side=0)), model).verdict is Verdict.OK
    # The box of the detection model is the middle of its input.
    assert [defect.box_xywh for defect in found.defects] == [
        (68, 52, 8, 8) if task == "detection" else (64, 48, 16, 16)
    ]


def test_a_spot_in_four_tiles_is_one_defect(make_package: MakePackage) -> None:
    found = inspect_image(encoded(spotted(72, 58, side=12)), tiled(make_package, "anomaly_map", tiles={"grid": [8, 6]}))
    assert [defect.box_xywh for defect in found.defects] == [(72, 58, 12, 12)]


def test_live_batch_and_several_thresholds_agree_byte_for_byte(make_package: MakePackage) -> None:
    model = tiled(make_package, "anomaly_map", tiles={"grid": [5, 3], "overlap": 0.2})
    rule = DecisionRule(recipe_id="r", revision=1, threshold=0.9)
    strict = dataclasses.replace(model, manifest=model.manifest.model_copy(update={"decision": rule}))
    for name in (".png", ".jpg", ".bmp", ".tiff"):
        images = [encoded(scene(320, 240, seed=seed), name) for seed in range(2)]
        together = inspect_images([(image, None) for image in images], [model, strict])
        assert together == [(inspect_image(image, model), inspect_image(image, strict)) for image in images]
    assert together[0][0].threshold != together[0][1].threshold  # type: ignore[index]


def test_a_tile_without_a_score_rejects_the_frame(make_package: MakePackage) -> None:
    # The square root of a negative number is not a number, so a tile of exactly 200 has no valid score.
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "level"], ["off"]),
        helper.make_node("Abs", ["off"], ["far"]),
        helper.make_node("Sub", ["far", "half"], ["further"]),
        helper.make_node("Sqrt", ["further"], ["root"]),
        helper.make_node("Mul", ["root", "scale"], ["score"]),
    ]
    constants = {"level": np.float32([200]), "half": np.float32([0.5]), "scale": np.float32([0.01])}
    data = graph_bytes(nodes, {"score": ("n", 1)}, constants=constants)
    outputs = {"names": {"scores": "score"}, "activation": "none"}
    model = load_model(make_package(data, outputs=outputs, input={**INPUT, "tiles": {"grid": [2, 1]}}))
    frame = np.full((8, 16), 90, np.uint8)
    assert inspect_image(encoded(frame), model).result_state is ResultState.COMPLETED
    for half in (np.s_[:, :8], np.s_[:, 8:]):
        other = frame.copy()
        other[half] = 200
        found = inspect_image(encoded(other), model)
        assert (found.result_state, found.action, found.score) == (ResultState.FAILED, Action.REJECT, None)
        assert found.reason == "the model's output is not a number"


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.1, 1.5])
def test_an_invalid_score_is_not_hidden_by_a_higher_one(score: float, make_package: MakePackage) -> None:
    for order in ([score, 0.9], [0.9, score]):
        findings = TileFindings(tiled(make_package).manifest)
        for each in order:
            findings.add(Region(0, 0, 8, 8), Finding(each, {"defect": each}))
        assert repr(findings.merged().score) == repr(score)


def test_a_defect_in_an_overlap_is_listed_once(make_package: MakePackage) -> None:
    findings = TileFindings(tiled(make_package, "detection").manifest)
    for tile, box, score in (
        (Region(0, 0, 100, 100), (80.0, 10.0, 20.0, 20.0), 0.8),  # cut by the border of the tile
        (Region(75, 0, 100, 100), (80.0, 10.0, 40.0, 20.0), 0.9),
        (Region(75, 0, 100, 100), (150.0, 10.0, 10.0, 10.0), 0.7),
    ):
        findings.add(tile, Finding(score, {"defect": score}, (Defect("defect", score, box),)))
    assert [defect.score for defect in findings.merged().defects] == [0.9, 0.7]


def test_many_defects_are_bounded(make_package: MakePackage) -> None:
    findings = TileFindings(tiled(make_package, "anomaly_map").manifest)
    for number in range(500):
        defects = tuple(Defect("defect", 0.5 + n / 200, (20.0 * n, 20.0 * number, 5.0, 5.0)) for n in range(50))
        findings.add(Region(0, 0, 8, 8), Finding(0.7, {"defect": 0.7}, defects))
    merged = findings.merged()
    assert len(merged.defects) == 50
    assert merged.defects[0].score == 0.5 + 49 / 200


def test_a_tile_outside_of_the_polygon_does_not_decide(make_package: MakePackage) -> None:
    roi = {"polygon": [[0, 0], [127, 0], [0, 95]]}
    # Grey as the filling is over the threshold.
    model = tiled(make_package, roi=roi, tiles=GRID, pad=250)
    frame = np.full((96, 128), 20, np.uint8)
    score = inspect_image(encoded(frame), model).score
    assert score is not None
    frame[64:, 96:] = 255
    assert inspect_image(encoded(frame), model).score == score
    lower = tiled(make_package, roi={"polygon": [[0, 0], [31, 0], [0, 31]]}, tiles={"grid": [1, 1]})
    assert inspect_image(encoded(frame), lower).verdict is Verdict.OK


@pytest.mark.parametrize("task", ["classification", "anomaly_map"])
def test_the_heat_map_covers_the_frame(task: str, make_package: MakePackage) -> None:
    model = tiled(make_package, task, tiles={"grid": [8, 6]})
    found = heat_map(encoded(spotted(72, 52, side=8)), model, steps=3)
    assert found is not None
    assert found.values.shape == (48, 64)
    row, column = np.unravel_index(int(found.values.argmax()), found.values.shape)
    assert 24 <= row < 32
    assert 32 <= column < 40


def test_a_small_defect_of_a_large_frame_is_on_the_heat_map(make_package: MakePackage) -> None:
    model = tiled(make_package, "anomaly_map", tiles={"size": [64, 64]})
    found = heat_map(encoded(spotted(1000, 504, wh=(2048, 1024), side=8)), model)
    assert found is not None
    assert found.values.shape == (32, 64)
    assert found.values[504 // 32, 1000 // 32] > 0.9
    assert np.count_nonzero(found.values > 0.5) <= 4


@pytest.mark.parametrize("tiles", [GRID, {"size": [24, 16], "overlap": 0.5}])
@pytest.mark.parametrize("task", CASES)
def test_the_contract_holds_for_tiles(task: str, tiles: object, make_package: MakePackage) -> None:
    model, changes = CASES[task]
    check_model(make_package(model(), **changes, input={**INPUT, "tiles": tiles}))


def test_the_reference_is_measured_on_tiles(make_package: MakePackage) -> None:
    model = tiled(make_package, tiles=GRID)
    images = [encoded(scene(128, 96, seed=seed)) for seed in range(50)]
    reference = measure_reference(model, [("", image) for image in images])
    measured = [inspect_image(image, model).signals["sharpness"] for image in images]
    assert reference.everything["sharpness"].mean == pytest.approx(np.mean(measured))


def test_tiles_are_a_part_of_the_recipe(make_package: MakePackage) -> None:
    revisions = {
        tiled(make_package, **fields).recipe_revision
        for fields in ({}, {"tiles": GRID}, {"tiles": {**GRID, "overlap": 0.1}}, {"tiles": {"size": [4, 3]}})
    }
    assert len(revisions) == 4
    assert "tiles" not in tiled(make_package).manifest.input.described()


def test_the_memory_of_a_frame_is_released(make_package: MakePackage, monkeypatch: pytest.MonkeyPatch) -> None:
    model, used = tiled(make_package, tiles=GRID), set[int]()
    run = Model.run

    def watched(self: Model, tensor: np.ndarray) -> Any:
        used.add(BUDGET.used_bytes)
        return run(self, tensor)

    monkeypatch.setattr(Model, "run", watched)
    inspect_image(encoded(scene(128, 96)), model)
    assert used == {128 * 96}  # the decoded pixels, without what decoding took
    assert BUDGET.used_bytes == 0


@pytest.mark.parametrize("text", ["", "2", "2x", "x2", "0x0", "2x2x2", "-1x2", "2.5x2", "99x99", "axb", "2X2", "1e3x1"])
def test_a_text_that_is_no_tiles_ends_in_one_line(text: str) -> None:
    with pytest.raises(SettingsError, match="--tiles") as caught:
        parse_tiles(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("overlap", [1.0, -0.5, math.nan, math.inf])
def test_an_overlap_that_is_no_share_ends_in_one_line(overlap: float) -> None:
    with pytest.raises(SettingsError, match="--tile-overlap") as caught:
        parse_tiles("2x2", overlap)
    assert "\n" not in str(caught.value)


@pytest.mark.long
def test_a_defect_of_12_pixels_in_a_line_scan_image_rejects_the_part(make_package: MakePackage) -> None:
    """The web is 16384x4096 pixels; at 256x256 the hole is a fifth of a pixel, in a tile of 1024 pixels it is three."""
    nodes = [helper.make_node("Identity", ["image"], ["map"])]
    graph = graph_bytes(nodes, {"map": ("n", 1, 256, 256)}, shape=("n", 1, 256, 256))
    changes: dict[str, Any] = {
        "task": "anomaly_map",
        "outputs": {"names": {"map": "map"}},
        "anomaly": {"low": 0.0, "high": 255.0, "score_percentile": 100},
    }
    spec = {**INPUT, "width": 256, "height": 256}
    whole = load_model(make_package(graph, **changes, input=spec))
    model = load_model(make_package(graph, **changes, input={**spec, "tiles": {"size": [1024, 1024]}}))
    web = np.full((4096, 16384), 90, np.uint8)
    web[2000:2012, 9000:9012] = 250
    data = encoded(web, ".bmp")
    assert inspect_image(data, whole).verdict is Verdict.OK
    found = inspect_image(data, model)
    assert found.verdict is Verdict.NOT_OK
    [defect] = found.defects
    x, y, width, height = defect.box_xywh
    assert 8996 <= x <= 9000
    assert 1996 <= y <= 2000
    assert max(width, height) <= 20
    web[2000:2012, 9000:9012] = 90
    assert inspect_image(encoded(web, ".bmp"), model).verdict is Verdict.OK
