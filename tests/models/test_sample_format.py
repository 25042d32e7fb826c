"""The stated form of samples: alignment, window and Bayer pattern, on the whole range and at each boundary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models import ImageError, Model, ModelPackageError, inspect_image, load_model
from models.frame_pixels import frame_pixels
from models.input_text import parse_samples
from models.opencv import cv2
from models.testing import check_model
from schemas.errors import SettingsError
from tests.support.image_files import grey_tiff, png
from tests.support.packages import MakePackage, encoded, mean_classifier

INPUT = {"name": "image", "width": 8, "height": 8, "colour": "grey", "dtype": "float32"}
LOW = {"bit_depth": 12, "alignment": "low"}

#: Fields of the input -> text of the refusal at loading.
GARBAGE: dict[str, tuple[dict[str, Any], str]] = {
    "alignment alone": ({"alignment": "low"}, "input.alignment: an alignment needs the bit_depth"),
    "another alignment": ({"bit_depth": 12, "alignment": "left"}, "input.alignment: Input should be 'low' or 'high'"),
    "window backwards": ({"window": [9, 3]}, "input.window: the lower end comes first"),
    "window of nothing": ({"window": [9, 9]}, "input.window: the lower end comes first, and the ends differ"),
    "window of one": ({"window": [9]}, "input.window"),
    "negative window": ({"window": [-1, 9]}, "input.window.0: Input should be greater than or equal to 0"),
    "window not a number": ({"window": [float("nan"), 9]}, "input.window.0: Input should be a valid integer"),
    "window beyond words": ({"window": [0, 70_000]}, "input.window.1: Input should be less than or equal to 65535"),
    "window beyond the depth": ({**LOW, "window": [0, 4096]}, "input.window: 4096 has more than the 12 bits"),
    "window without alignment": ({"bit_depth": 12, "window": [0, 9]}, "input.window: a window of a bit_depth needs"),
    "another pattern": ({"bayer": "RGBG"}, "input.bayer: Input should be 'RGGB', 'BGGR', 'GRBG' or 'GBRG'"),
}


def made(make_package: MakePackage, **fields: Any) -> Model:
    channels = 1 if fields.get("colour", "grey") == "grey" else 3
    # The mean of each channel is a score.
    graph = mean_classifier(shape=("n", channels, 8, 8))
    return load_model(make_package(graph, input={**INPUT, **fields}, labels=["a", "b", "c"][:channels]))


def pixels(image: bytes, model: Model) -> np.ndarray:
    with frame_pixels(image, model.manifest.input) as seen:
        return seen.pixels


@pytest.mark.parametrize(("fields", "reason"), GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_ends_in_one_line_at_loading(fields: dict[str, Any], reason: str, make_package: MakePackage) -> None:
    with pytest.raises(ModelPackageError) as caught:
        load_model(make_package(input={**INPUT, **fields}))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("depth", [10, 12, 14, 16])
@pytest.mark.parametrize("alignment", ["low", "high"])
def test_each_depth_and_alignment(depth: int, alignment: str, make_package: MakePackage) -> None:
    model = made(make_package, bit_depth=depth, alignment=alignment)
    for values in (np.linspace(0, 2**depth - 1, 64), np.linspace(0, 2 ** (depth - 4), 64)):  # bright, and dark
        samples = np.tile(values.astype(np.uint16), (16, 1))
        words = samples if alignment == "low" else (samples << (16 - depth)).astype(np.uint16)
        for data in (png(words), grey_tiff(words)):
            np.testing.assert_array_equal(pixels(data, model), samples >> (depth - 8))


def test_a_window_of_12_bits_becomes_the_whole_range(make_package: MakePackage) -> None:
    samples = np.tile(np.array([0, 999, 1000, 1500, 2000, 3000, 3001, 4095], np.uint16), (8, 1))
    wanted = [0, 0, 0, 64, 128, 255, 255, 255]
    low = made(make_package, **LOW, window=[1000, 3000])
    high = made(make_package, bit_depth=12, alignment="high", window=[1000, 3000])
    word = made(make_package, window=[1000, 3000])
    for model, words in ((low, samples), (high, samples << 4), (word, samples)):
        for data in (png(words.astype(np.uint16)), grey_tiff(words.astype(np.uint16))):
            np.testing.assert_array_equal(pixels(data, model)[0], wanted)


def test_a_window_of_8_bits(make_package: MakePackage) -> None:
    model = made(make_package, window=[100, 151])
    frame = np.tile(np.array([0, 100, 101, 150, 151, 255], np.uint8), (8, 1))
    for suffix in (".png", ".bmp", ".tiff"):
        np.testing.assert_array_equal(pixels(encoded(frame, suffix), model)[0], [0, 0, 5, 250, 255, 255])
    flat = np.full((16, 16), 126, np.uint8)
    assert abs(int(pixels(encoded(flat, ".jpg"), model)[3, 3]) - 130) <= 5


def test_a_window_applies_to_each_colour(make_package: MakePackage) -> None:
    model = made(make_package, colour="rgb", window=[0, 100])
    frame = np.full((8, 8, 3), (10, 50, 200), np.uint8)
    np.testing.assert_array_equal(pixels(encoded(frame), model)[0, 0], [26, 128, 255])


@pytest.mark.parametrize(
    ("fields", "frame", "reason"),
    [
        ({**LOW, "window": [0, 4095]}, np.zeros((8, 8), np.uint8), "states a window of 12-bit values, the image has 8"),
        ({"window": [0, 300]}, np.zeros((8, 8), np.uint8), "states a window of 16-bit values, the image has 8 bits"),
        (LOW, np.full((8, 8), 4096, np.uint16), "and a sample of the image is 4096: state alignment: high"),
    ],
)
def test_an_image_that_contradicts_the_manifest_fails(
    fields: dict[str, Any], frame: np.ndarray, reason: str, make_package: MakePackage
) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        inspect_image(png(frame), made(make_package, **fields))
    assert caught.value.kind == "depth-mismatch"
    assert "\n" not in str(caught.value)


def test_a_depth_that_the_file_states_otherwise_fails(make_package: MakePackage) -> None:
    with pytest.raises(ImageError, match="the manifest states 12 bits, the image 10"):
        inspect_image(png(np.full((8, 8), 900, np.uint16), (b"sBIT", b"\x0a")), made(make_package, **LOW))


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize("bits", [8, 12])
def test_each_bayer_pattern_has_its_colours(pattern: str, bits: int, make_package: MakePackage) -> None:
    levels = {"R": 200, "G": 100, "B": 20}
    mosaic = np.empty((32, 32), np.uint16)
    for index, letter in enumerate(pattern):
        mosaic[index // 2 :: 2, index % 2 :: 2] = levels[letter]
    fields = {} if bits == 8 else LOW
    data = png(mosaic.astype(np.uint8) if bits == 8 else (mosaic << 4).astype(np.uint16))
    found = pixels(data, made(make_package, colour="rgb", bayer=pattern, **fields))
    assert found.shape == (32, 32, 3)
    np.testing.assert_array_equal(found[8:24, 8:24], np.broadcast_to([20, 100, 200], (16, 16, 3)))
    grey = pixels(data, made(make_package, bayer=pattern, **fields))
    np.testing.assert_array_equal(grey, cv2.cvtColor(found, cv2.COLOR_BGR2GRAY))


def test_a_region_with_odd_edges_keeps_the_pattern(make_package: MakePackage) -> None:
    mosaic = np.full((32, 32), 100, np.uint8)
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = 200, 20
    model = made(make_package, colour="rgb", bayer="RGGB", roi={"box": [5, 7, 16, 16]})
    np.testing.assert_array_equal(pixels(png(mosaic), model)[4, 4], [20, 100, 200])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encoded(np.zeros((8, 8), np.uint8), ".jpg"), "a JPEG does not keep one"),
        (encoded(np.zeros((8, 8, 3), np.uint8)), "the image has 3 channels"),
        (encoded(np.zeros((2, 8), np.uint8)), "8x2 pixels are too small for a Bayer pattern"),
    ],
)
def test_an_image_that_is_no_mosaic_fails(data: bytes, reason: str, make_package: MakePackage) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        inspect_image(data, made(make_package, bayer="RGGB"))
    assert caught.value.kind == "no-mosaic"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"window": [20, 200]}, {"window": [0, 65_535]}, LOW, {**LOW, "window": [100, 4000]}, {"bayer": "GBRG"},
        {"bit_depth": 10, "alignment": "high", "window": [0, 1023], "bayer": "RGGB"},
    ],
)  # fmt: skip
def test_the_contract_holds(fields: dict[str, Any], make_package: MakePackage) -> None:
    check_model(make_package(input={**INPUT, **fields}))


def test_each_field_is_a_part_of_the_recipe(make_package: MakePackage) -> None:
    stated = ({}, {"bit_depth": 12}, LOW, {**LOW, "window": [0, 99]}, {"window": [0, 99]}, {"bayer": "RGGB"})
    assert len({made(make_package, **fields).recipe_revision for fields in stated}) == len(stated)
    assert not {"alignment", "window", "bayer"} & set(made(make_package).manifest.input.described())


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ((8, None, None, None), "--bit-depth 8: "),
        ((None, "low", None, None), "--alignment low: "),
        ((12, "low", "0,5000", None), "--window 0,5000: "),
        ((None, None, "0", None), "--window '0': "),
        ((None, None, "a,b", None), "--window 'a,b': "),
        ((None, None, "5,1", None), "--window 5,1: "),
        ((None, None, "nan,1", None), "--window 'nan,1': "),
        ((None, None, None, "XYZ"), "--bayer XYZ: "),
    ],
)
def test_options_that_do_not_fit_end_in_one_line(given: tuple[Any, ...], option: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_samples(*given)
    assert str(caught.value).startswith(option)
    assert "\n" not in str(caught.value)
