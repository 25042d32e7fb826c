"""10, 12 and 14 bits in 16-bit words become the whole range of grey values, where the depth is stated."""

from __future__ import annotations

import numpy as np
import pytest

from models import load_model
from models.images import decode
from models.inspect_images import prepare
from models.remarks import shrinking
from models.sample_depth import scaled_up, to_8_bits
from producers.camera import Capture
from producers.encoding import encode_capture
from schemas.records import Encoding
from tests.support.image_files import grey_tiff, png
from tests.support.packages import MakePackage, encoded, mean_classifier, scene


def ramp(depth: int) -> np.ndarray:
    return np.tile(np.round(np.linspace(0, 2**depth - 1, 64)), (32, 1)).astype(np.uint16)


def as_8_bits(depth: int) -> np.ndarray:
    return (ramp(depth) >> (depth - 8)).astype(np.uint8)


@pytest.mark.parametrize("depth", [10, 12, 14])
@pytest.mark.parametrize("colour", [False, True])
def test_a_depth_in_the_file_is_honoured(depth: int, colour: bool) -> None:
    low = ramp(depth)
    files = {
        "sBIT": png(low, (b"sBIT", bytes([depth]))),
        "MaxSampleValue": grey_tiff(low, t281=2**depth - 1),
        "SMaxSampleValue": grey_tiff(low, t341=2**depth - 1),
    }
    for name, data in files.items():
        decoded = decode(data, colour=colour)
        pixels = decoded.pixels[:, :, 0] if colour else decoded.pixels
        np.testing.assert_array_equal(pixels, as_8_bits(depth), err_msg=name)
        assert decoded.remarks == (), name


def test_samples_scaled_up_as_png_has_them_stay_as_they_are() -> None:
    scaled = (ramp(12) << 4).astype(np.uint16)
    dark = (ramp(8) << 4).astype(np.uint16)  # of 12 bits, all below 1/16 of the range
    for values in (scaled, dark):
        data = png(values, (b"sBIT", b"\x0c"))
        np.testing.assert_array_equal(decode(data).pixels, (values >> 8).astype(np.uint8))


def test_a_greatest_value_that_is_no_depth_scales_nothing() -> None:
    dark = ramp(12) // 3
    assert decode(grey_tiff(dark, t281=int(dark.max()))).pixels.max() == dark.max() >> 8


def test_without_a_depth_a_dark_16_bit_image_is_remarked() -> None:
    for data in (png(ramp(12)), grey_tiff(ramp(12))):
        decoded = decode(data)
        assert decoded.pixels.max() == 15
        assert [remark.kind for remark in decoded.remarks] == ["low-16-bit"]
        assert decode(data, bit_depth=12).remarks == ()
        np.testing.assert_array_equal(decode(data, bit_depth=12).pixels, as_8_bits(12))
    for data in (png(ramp(16)), png(ramp(14)), png(ramp(8).astype(np.uint8))):
        assert decode(data).remarks == ()


def test_samples_beyond_the_stated_depth_are_remarked_if_they_become_dark() -> None:
    spike = ramp(12)
    spike[0, 0] = 4096  # one pixel beyond 12 bits
    for data, depth in ((png(spike), 12), (png(spike, (b"sBIT", b"\x0c")), None), (png(ramp(12)), 10)):
        decoded = decode(data, bit_depth=depth)
        assert decoded.pixels.max() < 32
        [remark] = decoded.remarks
        assert remark.kind == "low-16-bit"
        assert f"do not fit the {depth or 12} bits" in remark.text
    dark = (ramp(9) << 4).astype(np.uint16)  # scaled up from 12 bits, and dark
    assert decode(png(dark), bit_depth=12).remarks == ()


def test_a_second_picture_behind_a_jpeg_is_remarked() -> None:
    one, other = (encoded(np.full((16, 16), grey, np.uint8), ".jpg") for grey in (10, 200))
    assert decode(one).remarks == decode(one + bytes(500)).remarks == ()
    assert [remark.kind for remark in decode(one + other).remarks] == ["second-picture"]


def test_colour_of_12_bits() -> None:
    low = np.dstack([ramp(12), ramp(12) // 2, ramp(12) // 4])
    pixels = decode(png(low, (b"sBIT", b"\x0c\x0c\x0c")), colour=True).pixels
    np.testing.assert_array_equal(pixels, (low[:, :, ::-1] >> 4).astype(np.uint8))


def test_packed_12_bits_of_a_tiff() -> None:
    values = ramp(12)
    packed = b"".join(
        bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in values.reshape(-1, 2).astype(int).tolist()
    )
    from tests.support.image_files import tiff

    data = tiff({256: 64, 257: 32, 258: 12, 278: 32}, [packed])
    np.testing.assert_array_equal(decode(data).pixels, as_8_bits(12))
    assert decode(data, colour=True).pixels.shape == (32, 64, 3)


def test_the_manifest_states_the_depth_of_its_cameras(make_package: MakePackage) -> None:
    graph = mean_classifier()
    block = {"name": "image", "width": 8, "height": 8, "colour": "grey", "dtype": "float32"}
    plain = load_model(make_package(graph))
    deep = load_model(make_package(graph, input={**block, "bit_depth": 12}))
    bright = png(np.full((8, 8), 3001, np.uint16))
    assert prepare(bright, plain).small.max() == 3001 >> 8
    assert prepare(bright, deep).small.max() == 3001 >> 4
    assert plain.manifest.recipe_revision != deep.manifest.recipe_revision


@pytest.mark.parametrize("mode", ["as-is", "png", "jpeg"])
def test_a_camera_of_12_bits(mode: str) -> None:
    values = ramp(12)
    for capture in (Capture(image=values), Capture(encoded=png(values)), Capture(encoded=grey_tiff(values))):
        made = encode_capture(capture, mode, bit_depth=12)
        decoded = decode(made.data)
        assert decoded.remarks == ()
        assert made.encoding is (Encoding.JPEG if mode == "jpeg" else Encoding.PNG)
        assert np.abs(decoded.pixels.astype(int) - as_8_bits(12)).max() <= (3 if mode == "jpeg" else 0)


def test_16_bits_without_a_depth_stay_16_bits() -> None:
    made = encode_capture(Capture(image=ramp(16)), "jpeg")
    assert made.encoding is Encoding.PNG
    np.testing.assert_array_equal(decode(made.data).pixels, (ramp(16) >> 8).astype(np.uint8))


def test_scaling_up_keeps_each_value() -> None:
    values = ramp(12)
    np.testing.assert_array_equal(scaled_up(values, 12) >> 4, values)
    np.testing.assert_array_equal(to_8_bits(scaled_up(values, 12), 12), as_8_bits(12))


@pytest.mark.parametrize(("alpha", "kinds"), [(255, []), (254, ["transparency"]), (0, ["transparency"])])
def test_transparency_is_remarked(alpha: int, kinds: list[str]) -> None:
    image = np.dstack([scene(9, 7, colour=True), np.full((7, 9), alpha, np.uint8)])
    for suffix in (".png", ".tiff"):
        assert [remark.kind for remark in decode(encoded(image, suffix)).remarks] == kinds


def test_shrinking_is_remarked_above_the_factor() -> None:
    assert shrinking((640, 480), (80, 80)) == ()
    [remark] = shrinking((641, 480), (80, 80))
    assert (remark.kind, round(remark.factor, 2)) == ("shrunk", 8.01)
    assert shrinking((480, 641), (80, 80))[0].kind == "shrunk"
