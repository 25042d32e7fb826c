"""Alignment: a part that lies elsewhere is laid over a picture of a good one; boxes and maps stay in frame pixels."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from models import ImageError, ModelPackageError, inspect_image, load_model
from models.aligner import Aligner, AlignError
from models.explain import heat_map
from models.inspect_images import inspect_images
from models.manifest import DecisionRule
from models.package_report import check_package
from models.package_summary import PackageSummary
from models.placement import Placement
from models.regions import Region
from models.testing import check_model
from replay.predict.child import FileInspector, FileJob
from schemas import ResultState, Verdict
from schemas.records import Action
from tests.support.boards import BOARD_WH, board, placement_of
from tests.support.packages import MakePackage, encoded
from tests.support.task_models import CASES

INPUT = {"name": "image", "width": 8, "height": 8, "colour": "grey", "dtype": "float32"}
WHOLE = Region(0, 0, *BOARD_WH)
PICTURE = encoded(cv2.cvtColor(board(), cv2.COLOR_BGR2GRAY))
MOVES = {
    "as it is": ((0.0, 0.0), 0.0),
    "shifted": ((5.3, -6.6), 0.0),
    "turned": ((0.0, 0.0), 0.9),
    "both": ((-4.2, 3.7), -0.6),
}


def aligned(
    make_package: MakePackage,
    task: str = "anomaly_map",
    picture: bytes = PICTURE,
    reach: int = 12,
    fill: str = "edge",
    **fields: Any,
) -> Path:
    model, changes = CASES[task]
    align = {"file": "align.png", "sha256": hashlib.sha256(picture).hexdigest(), "reach": reach, "fill": fill}
    folder = make_package(model(), **changes, input={**INPUT, "align": align, **fields})
    (folder / "align.png").write_bytes(picture)
    return folder


def spotted(x: int, y: int, placement: Placement, **options: Any) -> np.ndarray:
    """A dark board with a bright square at a place of the aligned frame."""
    image = (board(3, **options) * 0.4).astype(np.uint8)
    left, top = np.rint(placement.matrix @ (x, y, 1)).astype(int).tolist()
    image[top - 24 : top + 24, left - 24 : left + 24] = 255
    return image


@pytest.mark.parametrize(("shift", "degrees"), MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("scale", [1, 3])
def test_a_part_is_found_to_a_fraction_of_a_pixel(shift: tuple[float, float], degrees: float, scale: int) -> None:
    wh = (BOARD_WH[0] * scale, BOARD_WH[1] * scale)
    large = lambda image: cv2.resize(image, wh, interpolation=cv2.INTER_CUBIC)  # noqa: E731 - two uses
    found = Aligner(large(board()), 12 * scale).place(large(board(1, shift=shift, degrees=degrees)), Region(0, 0, *wh))
    assert isinstance(found, Placement)
    corners = np.array([(0, 0, 1), (BOARD_WH[0], 0, 1), (0, BOARD_WH[1], 1), (*BOARD_WH, 1)])
    scaled = corners * (scale, scale, 1)
    # The pixels of an enlarged picture lie half a pixel elsewhere.
    half = (scale - 1) / 2
    wanted = (corners @ placement_of(shift, degrees).matrix.T) * scale + half
    assert np.abs((scaled + np.array([half, half, 0])) @ found.matrix.T - wanted).max() < 0.6 * scale


def test_an_aligned_frame_is_the_picture() -> None:
    aligner, frame = Aligner(board(), 12), board(shift=(6.0, -5.0), degrees=0.5)
    placement = aligner.place(frame, WHOLE)
    assert isinstance(placement, Placement)
    before = np.abs(frame.astype(int) - board())[20:-20, 20:-20].mean()
    after = np.abs(aligner.align(frame, WHOLE, placement).astype(int) - board())[20:-20, 20:-20].mean()
    assert after < 0.3 * before


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_what_the_frame_does_not_show_is_as_in_the_picture(colour: str) -> None:
    """The picture is as bright there as the frame beside it, which has twice the light at its lower end."""
    light = np.linspace(0.4, 0.8, BOARD_WH[1])[:, None, None]
    picture, frame = board(), (board(1, shift=(22.0, -15.0), degrees=1.5) * light).astype(np.uint8)
    whole = board(1) * light
    if colour == "grey":
        picture, frame = (cv2.cvtColor(each, cv2.COLOR_BGR2GRAY) for each in (picture, frame))
        whole = cv2.cvtColor(whole.astype(np.uint8), cv2.COLOR_BGR2GRAY).astype(float)
    filled, plain = Aligner(picture, 40, fills=True), Aligner(picture, 40)
    placement = filled.place(frame, WHOLE)
    assert isinstance(placement, Placement)
    shown = placement.shown_cells(WHOLE, 40, margin=0.0)
    shown = cv2.resize(shown.astype(np.uint8), BOARD_WH, interpolation=cv2.INTER_NEAREST).astype(bool)
    assert 0.05 < 1 - shown.mean() < 0.2
    images = [each.align(frame, WHOLE, placement) for each in (filled, plain)]
    errors = [np.abs(each - whole)[~shown].mean() for each in images]
    assert errors[0] < 6 < errors[1]
    inner = placement.shown_cells(WHOLE, 40, margin=1.0)
    inner = cv2.resize(inner.astype(np.uint8), BOARD_WH, interpolation=cv2.INTER_NEAREST).astype(bool)
    assert np.array_equal(images[0][inner], images[1][inner])


def test_the_edge_of_a_frame_is_no_defect_with_the_fill_of_the_picture(make_package: MakePackage) -> None:
    """The frame is white where the part leaves it, and white is a defect of this model."""
    frame = (board(1, shift=(30.0, 0.0)) * 0.3).astype(np.uint8)
    frame[:, -2:] = 255
    found = {
        fill: inspect_image(encoded(frame), load_model(aligned(make_package, fill=fill, reach=40)))
        for fill in ("edge", "picture")
    }
    assert [found[fill].result_state for fill in found] == [ResultState.COMPLETED] * 2
    assert (found["edge"].verdict, found["picture"].verdict) == (Verdict.NOT_OK, Verdict.OK)


def test_a_package_of_an_older_version_keeps_its_recipe(make_package: MakePackage) -> None:
    spec = load_model(aligned(make_package)).manifest.input
    assert spec.align is not None
    assert spec.described()["align"] == {"file": "align.png", "sha256": spec.align.sha256, "reach": 12}
    filled = load_model(aligned(make_package, fill="picture")).manifest.input
    assert filled.described()["align"]["fill"] == "picture"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (board(layout=1), "does not match the picture that it is aligned to"),
        (np.zeros((*BOARD_WH[::-1], 3), np.uint8), "0 of "),
        (np.random.default_rng(0).integers(0, 256, (*BOARD_WH[::-1], 3), np.uint8), "places agree"),
        (board(shift=(40.0, 0.0)), "lies elsewhere, or is turned"),
        (board(degrees=180), "lies elsewhere, or is turned"),
        (board(wh=(500, 320)), "another size than the picture that it is aligned to: 500x320 instead of 480x320"),
    ],
    ids=["another part", "black", "noise", "too far", "upside down", "another size"],
)
@pytest.mark.parametrize("tiles", [None, {"grid": [3, 2]}], ids=["whole", "tiles"])
def test_a_frame_that_does_not_match_fails_and_is_rejected(
    frame: np.ndarray, reason: str, tiles: object, make_package: MakePackage
) -> None:
    model = load_model(aligned(make_package, tiles=tiles))
    found = inspect_image(encoded(frame), model)
    assert (found.result_state, found.verdict, found.action) == (
        ResultState.FAILED, Verdict.NOT_DECIDABLE, Action.REJECT,
    )  # fmt: skip
    assert reason in found.reason
    assert "not-aligned" in [remark.kind for remark in found.remarks]
    assert found.score is None
    assert found.defects == ()
    assert found.signals["brightness"] >= 0
    with pytest.raises(ImageError, match="aligned to"):
        heat_map(encoded(frame), model)


def test_commands_name_a_frame_that_does_not_match(make_package: MakePackage, tmp_path: Path) -> None:
    package = aligned(make_package)
    for name, frame in (("own", board(1)), ("other", board(layout=1))):
        (tmp_path / f"{name}.png").write_bytes(encoded(frame))
    files = sorted(tmp_path.glob("o*.png"))
    inspector = FileInspector(load_model(package), str(tmp_path))
    rows = [row for _, row in inspector([FileJob(number, path.name) for number, path in enumerate(files)])]
    assert [row.failure for row in rows] == ["not-aligned", ""]
    report = check_package(package, [path.read_bytes for path in files])
    assert report.failures == {"not-aligned": 1}


@pytest.mark.parametrize(("shift", "degrees"), MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("tiles", [None, {"grid": [2, 2]}], ids=["whole", "tiles"])
def test_boxes_and_maps_are_in_frame_pixels(
    shift: tuple[float, float], degrees: float, tiles: object, make_package: MakePackage
) -> None:
    model = load_model(aligned(make_package, tiles=tiles))
    placement = placement_of(shift, degrees)
    frame = encoded(spotted(330, 100, placement, shift=shift, degrees=degrees))
    found = inspect_image(frame, model)
    assert found.verdict is Verdict.NOT_OK
    x, y, width, height = found.defects[0].box_xywh
    cell = (BOARD_WH[0] / 8, BOARD_WH[1] / 8)
    wanted = placement.matrix @ (330, 100, 1)
    assert np.abs((x + width / 2, y + height / 2) - wanted).max() < max(cell)
    hot = heat_map(frame, model)
    assert hot is not None
    row, column = np.unravel_index(int(hot.values.argmax()), hot.values.shape)
    step_x, step_y = BOARD_WH[0] / hot.values.shape[1], BOARD_WH[1] / hot.values.shape[0]
    assert np.abs(((column + 0.5) * step_x, (row + 0.5) * step_y) - wanted).max() < max(cell)


def test_a_box_moves_with_the_part(make_package: MakePackage) -> None:
    model = load_model(aligned(make_package, tiles={"grid": [6, 4]}))
    boxes = []
    for shift in ((0.0, 0.0), (8.0, -5.0)):
        frame = encoded(spotted(200, 120, placement_of(shift, 0.0), shift=shift))
        boxes.append(np.array(inspect_image(frame, model).defects[0].box_xywh))
    assert np.abs(boxes[1] - boxes[0] - (8, -5, 0, 0)).max() < 1.0


def test_a_region_of_interest_is_aligned_by_itself(make_package: MakePackage) -> None:
    picture = encoded(cv2.cvtColor(board(), cv2.COLOR_BGR2GRAY)[20:300, 60:420])
    model = load_model(aligned(make_package, picture=picture, roi={"box": [60, 20, 360, 280]}, tiles={"grid": [3, 2]}))
    frame = encoded(spotted(200, 120, placement_of((7.0, 4.0), 0.0), shift=(7.0, 4.0)))
    found = inspect_image(frame, model)
    assert found.result_state is ResultState.COMPLETED
    x, y, width, height = found.defects[0].box_xywh
    assert np.abs((x + width / 2 - 207, y + height / 2 - 124)).max() < 20


def test_live_batch_and_several_thresholds_agree_byte_for_byte(make_package: MakePackage) -> None:
    rule = DecisionRule(recipe_id="r", revision=1, threshold=0.9)
    for tiles in (None, {"grid": [2, 2]}):
        folder = aligned(make_package, tiles=tiles)
        model, again = load_model(folder), load_model(folder)
        strict = dataclasses.replace(model, manifest=model.manifest.model_copy(update={"decision": rule}))
        images = [
            encoded(image, name)
            for name in (".png", ".jpg")
            for image in (board(1, shift=(3.3, 2.1), degrees=0.3), board(2, shift=(-5.7, 4.0)), board(layout=1))
        ]
        together = inspect_images([(image, None) for image in images], [model, strict])
        assert together == [(inspect_image(image, again), inspect_image(image, strict)) for image in images]


def test_the_picture_is_a_part_of_the_recipe(make_package: MakePackage) -> None:
    other = encoded(cv2.cvtColor(board(layout=2), cv2.COLOR_BGR2GRAY))
    models = [load_model(aligned(make_package, **changes)) for changes in ({}, {"picture": other}, {"reach": 13})]
    model, changes = CASES["anomaly_map"]
    plain = load_model(make_package(model(), **changes, input=INPUT))
    assert len({each.recipe_revision for each in [*models, plain]}) == 4
    assert len({each.network for each in [*models, plain]}) == 4
    assert "align" not in plain.manifest.input.described()


@pytest.mark.parametrize("task", CASES)
def test_the_contract_holds(task: str, make_package: MakePackage) -> None:
    folder = aligned(make_package, task)
    check_model(folder)
    assert "align.png" in PackageSummary.read(folder).sizes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reach": 0}, "input.align.reach: Input should be greater than or equal to 1"),
        ({"reach": 10_000}, "input.align.reach: Input should be less than or equal to 512"),
        ({"reach": 400}, "corners at which it can be found again; 12 are needed"),
        ({"reach": float("nan")}, "input.align.reach: Input should be a valid integer"),
        ({"file": "../align.png"}, "input.align.file: String should match pattern"),
        ({"file": "other.png"}, "input.align.file: other.png: No such file"),
        ({"sha256": "0" * 64}, "input.align.sha256: align.png has"),
        ({"sha256": "x"}, "input.align.sha256: String should match pattern"),
        ({"fill": "mean"}, "input.align.fill: Input should be 'edge' or 'picture'"),
        ({"turn": 3}, "input.align.turn: Extra inputs are not permitted"),
        ({"input": {"roi": {"polygon": [[0, 0], [99, 0], [0, 99]]}}}, "input.align: a polygon is not aligned"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_garbage_in_the_manifest_ends_in_one_line(
    change: dict[str, object], reason: str, make_package: MakePackage
) -> None:
    folder = aligned(make_package)
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
    manifest["input"] |= change.pop("input", {})  # type: ignore[call-overload]
    manifest["input"]["align"] |= change
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    with pytest.raises(ModelPackageError) as caught:
        load_model(folder)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (b"", "input.align.file: align.png:"),
        (b"not a picture", "input.align.file: align.png:"),
        (PICTURE[: len(PICTURE) // 2], "input.align.file: align.png:"),
        (encoded(np.full((320, 480), 90, np.uint8)), "0 corners at which it can be found again; 12 are needed"),
        (encoded(np.full((2, 2), 90, np.uint8)), "2x2 pixels is too narrow"),
        (encoded(np.full((1, 3000), 90, np.uint8)), "3000x1 pixels is too narrow"),
    ],
    ids=["empty", "text", "cut off", "flat", "tiny", "a line"],
)
def test_a_picture_that_is_none_ends_in_one_line(picture: bytes, reason: str, make_package: MakePackage) -> None:
    with pytest.raises(ModelPackageError) as caught:
        load_model(aligned(make_package, picture=picture))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_of_one_edge_is_refused() -> None:
    with pytest.raises(AlignError, match="corners"):
        Aligner(np.repeat(np.arange(400, dtype=np.uint8)[None], 300, axis=0), 10)
