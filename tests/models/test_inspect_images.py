"""The inspection function: pure, strict, and never accepting what it could not judge."""

from __future__ import annotations

import hashlib
import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import models
from models import ImageError, default_model_path, inspect_image, load_model
from models.input_spec import InputSpec
from models.manifest import DecisionRule
from models.preprocess import to_tensor
from models.rule import apply_rule
from models.signals import dhash_distance, signals
from schemas.records import Action, ResultState, Verdict
from tests.support.packages import MakePackage, encoded, graph_bytes, scene

SHIPPED = load_model(default_model_path())


def test_public_surface() -> None:
    assert sorted(models.__all__) == [
        "FramePosition", "ImageError", "Inspection", "Model", "ModelPackageError",
        "build_decision", "default_model_path", "failed_inspection", "inspect_image", "load_model",
    ]  # fmt: skip


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".tiff"])
def test_same_bytes_same_result_from_any_thread(extension: str) -> None:
    data = encoded(scene(640, 480), extension)
    first = inspect_image(data, SHIPPED)
    with ThreadPoolExecutor(4) as pool:
        assert all(result == first for result in pool.map(lambda _: inspect_image(data, SHIPPED), range(16)))
    assert set(first.durations_ms) == {"decode", "infer"}
    assert first.result_state is ResultState.COMPLETED


def test_same_result_from_another_session() -> None:
    data = encoded(scene(300, 300))
    assert inspect_image(data, SHIPPED) == inspect_image(data, load_model(default_model_path()))


def test_altered_image() -> None:
    data = encoded(scene(64, 64))
    digest = hashlib.sha256(data).hexdigest()
    inspect_image(data, SHIPPED, sha256=digest)
    inspect_image(data, SHIPPED, sha256=digest.upper())
    for wrong in (data + b"\0", data[:-1], b""):
        with pytest.raises(ImageError) as caught:
            inspect_image(wrong, SHIPPED, sha256=digest)
        assert caught.value.kind == "altered-image"


def test_size_the_frame_claims() -> None:
    data = encoded(scene(64, 48))
    inspect_image(data, SHIPPED, size_wh=(64, 48))
    with pytest.raises(ImageError, match="has 64x48 pixels, the frame says 48x64") as caught:
        inspect_image(data, SHIPPED, size_wh=(48, 64))
    assert caught.value.kind == "size-mismatch"


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(ImageError):
        inspect_image(data, SHIPPED)


def test_runtime_error_is_the_models_fault(make_package: MakePackage) -> None:
    # Gather runs on the pictures of the warm-up, and is out of range where the mean is exactly 200.
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Equal", ["mean", "level"], ["is_level"]),
        helper.make_node("Cast", ["is_level"], ["index"], to=7),
        helper.make_node("Gather", ["table", "index"], ["logit"]),
    ]
    constants = {"table": np.full((1, 1), -3, np.float32), "level": np.float32([200])}
    data = graph_bytes(nodes, {"logit": ("n", 1)}, constants=constants)
    model = load_model(make_package(data, overrule=["constant"]))
    assert inspect_image(encoded(np.zeros((8, 8), np.uint8)), model).result_state is ResultState.COMPLETED
    result = inspect_image(encoded(np.full((8, 8), 200, np.uint8)), model)
    assert (result.action, result.result_state) == (Action.REJECT, ResultState.FAILED)
    assert result.reason.startswith("the model does not run on this image: ")


RULE = DecisionRule(recipe_id="r", revision=1, threshold=0.5, review_band=(0.4, 0.6))


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_only_a_low_score_is_accepted(score: float) -> None:
    outcome = apply_rule(score, RULE)
    if outcome.action is Action.ACCEPT:
        assert 0.0 <= score < 0.4
    if not (math.isfinite(score) and 0 <= score <= 1):
        assert (outcome.verdict, outcome.action) == (Verdict.NOT_DECIDABLE, Action.REJECT)
        assert outcome.result_state is ResultState.FAILED


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_reason_is_true_as_written(score: float, threshold: float) -> None:
    reason = apply_rule(score, DecisionRule(recipe_id="r", revision=1, threshold=threshold)).reason
    _, left, sign, right = reason.split()
    assert (float(left) >= float(right)) if sign == ">=" else (float(left) < float(right))
    assert (sign == ">=") == (score >= threshold)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("colour", ["grey", "rgb", "bgr"])
@pytest.mark.parametrize("how", ["stretch", "letterbox"])
def test_tensor(layout: str, colour: str, how: str) -> None:
    channels = 1 if colour == "grey" else 3
    spec = InputSpec.model_validate_json(
        f'{{"name": "x", "width": 12, "height": 8, "colour": "{colour}", "layout": "{layout}", "dtype": "float32",'
        f' "resize": "{how}", "scale": 0.5, "mean": {[2.0, 3.0, 4.0][:channels]}, "std": {[2.0, 4.0, 8.0][:channels]}}}'
    )
    image = np.full((16, 16, 3), (10, 20, 30), np.uint8) if channels == 3 else np.full((16, 16), 10, np.uint8)
    before = image.copy()
    tensor, small, geometry = to_tensor(image, (16, 16), spec)
    np.testing.assert_array_equal(image, before)
    assert (tensor.shape, tensor.dtype, tensor.flags.c_contiguous) == (spec.shape, np.float32, True)
    planes = tensor[0] if layout == "NCHW" else tensor[0].transpose(2, 0, 1)
    levels = [30, 20, 10] if colour == "rgb" else [10, 20, 30]
    for plane, level, mean, std in zip(planes, levels, [2.0, 3.0, 4.0], [2.0, 4.0, 8.0], strict=False):
        assert plane[4, 6] == pytest.approx((level * 0.5 - mean) / std)
        if how == "letterbox":
            assert plane[4, 0] == pytest.approx((114 * 0.5 - mean) / std)
    assert small.shape[:2] == ((8, 12) if how == "stretch" else (8, 8))
    assert geometry.to_frame(geometry.left, 0, spec.width - geometry.left, 8) == pytest.approx((0, 0, 16, 16))


def test_signals_tell_what_they_say() -> None:
    sharp = scene(224, 224)
    blurred = np.asarray(models.preprocess.cv2.GaussianBlur(sharp, (9, 9), 0), np.uint8)
    assert signals(blurred)["sharpness"] < 0.2 * signals(sharp)["sharpness"]
    assert signals(np.zeros((8, 8), np.uint8)) == {
        "brightness": 0.0, "contrast": 0.0, "sharpness": 0.0, "noise": 0.0, "dark_share": 1.0, "bright_share": 0.0,
        "edge_density": 0.0, "dhash_hi": 0.0, "dhash_lo": 0.0,
    }  # fmt: skip
    assert signals(np.full((8, 8, 3), 255, np.uint8))["bright_share"] == 1.0
    assert signals(np.zeros((1, 1), np.uint8))["brightness"] == 0.0


def test_noise_is_the_standard_deviation_of_the_noise() -> None:
    grain = np.random.default_rng(1).normal(128, 5, (224, 224))
    assert signals(np.clip(grain, 0, 255).astype(np.uint8))["noise"] == pytest.approx(5, rel=0.05)


def test_colour_balance_is_in_octaves() -> None:
    image = np.full((8, 8, 3), (63, 127, 255), np.uint8)
    assert signals(image)["red_green"] == pytest.approx(1.0)
    assert signals(image)["blue_green"] == pytest.approx(-1.0)
    assert "red_green" not in signals(image[:, :, 0])


def test_the_hash_survives_a_change_of_exposure_and_tells_scenes_apart() -> None:
    image = scene(224, 224)
    darker = (image * 0.7).astype(np.uint8)
    assert dhash_distance(signals(image), signals(darker)) <= 6
    assert dhash_distance(signals(image), signals(scene(224, 224, seed=1))) > 15
    assert dhash_distance({"dhash_hi": float("nan"), "dhash_lo": 0.0}, signals(image)) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (3, 1), (8, 8, 3), (1, 1, 3)])
def test_signals_of_the_smallest_images_are_numbers(shape: tuple[int, ...]) -> None:
    assert all(np.isfinite(value) for value in signals(np.full(shape, 7, np.uint8)).values())


def test_signals_are_cheap() -> None:
    image = scene(224, 224)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        signals(image)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.5e-3
