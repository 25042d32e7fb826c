"""Captures to bytes: formats, sizes, and what must not be touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.image_header import UNREADABLE, read_header
from models.opencv import cv2
from producers.camera import Capture
from producers.encoding import EncodingFailed, encode_capture
from schemas.records import Encoding

COLOUR = np.random.default_rng(1).integers(0, 256, (30, 40, 3), np.uint8)
GREY = COLOUR[:, :, 0].copy()


def file_of(suffix: str, image: np.ndarray = COLOUR) -> bytes:
    done, buffer = cv2.imencode(suffix, image)
    assert done
    return buffer.tobytes()


@pytest.mark.parametrize("image", [COLOUR, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
def test_header_says_what_opencv_decodes(suffix: str, image: np.ndarray) -> None:
    header = read_header(file_of(suffix, image))
    assert (header.width, header.height) == (40, 30)
    assert header.encoding.value.lower().startswith(suffix[1:3])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
def test_encoded_bytes_pass_untouched(suffix: str) -> None:
    data = file_of(suffix)
    made = encode_capture(Capture(encoded=data))
    assert made.data is data
    assert (made.width, made.height) == (40, 30)


def test_pixels_survive_png_exactly() -> None:
    made = encode_capture(Capture(image=COLOUR), "png")
    assert np.array_equal(cv2.imdecode(np.frombuffer(made.data, np.uint8), cv2.IMREAD_UNCHANGED), COLOUR)


def test_quality_decides_the_size_of_a_jpeg() -> None:
    small, large = (encode_capture(Capture(image=COLOUR), "jpeg", quality) for quality in (10, 95))
    assert small.encoding is large.encoding is Encoding.JPEG
    assert len(small.data) < len(large.data)


def test_a_png_becomes_a_jpeg_on_request_and_a_jpeg_is_left_alone() -> None:
    assert encode_capture(Capture(encoded=file_of(".png")), "jpeg").encoding is Encoding.JPEG
    jpeg = file_of(".jpg")
    assert encode_capture(Capture(encoded=jpeg), "jpeg").data is jpeg


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no image", id="text"),
        pytest.param(file_of(".png")[:-40], id="cut png"),
        pytest.param(file_of(".png", GREY.astype(np.uint16) * 257), id="16 bit"),
        pytest.param(file_of(".png", np.dstack([COLOUR, GREY])), id="alpha"),
    ],
)
def test_what_re_encoding_would_hide_passes_untouched(data: bytes) -> None:
    assert encode_capture(Capture(encoded=data), "jpeg").data is data


def test_a_forged_size_is_not_decoded() -> None:
    data = bytearray(file_of(".png"))
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    made = encode_capture(Capture(encoded=bytes(data)), "jpeg")
    assert (made.data, made.width) == (bytes(data), 30_000)


def test_too_wide_for_a_jpeg_is_one_line() -> None:
    with pytest.raises(EncodingFailed, match="70000x1"):
        encode_capture(Capture(image=np.zeros((1, 70_000), np.uint8)), "jpeg")


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8), [[1, 2]]],
    ids=["float", "four channels", "empty", "one row", "list"],
)
def test_capture_refuses_other_arrays(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        Capture(image=image)


@given(st.sampled_from([".png", ".jpg", ".bmp", ".tiff"]), st.integers(0, 400), st.binary(max_size=12))
def test_no_bytes_break_the_header_reader(suffix: str, cut: int, noise: bytes) -> None:
    data = file_of(suffix)
    read_header(data[:cut] + noise + data[cut + len(noise) :])
    read_header(data[: min(cut, 24)] + noise)


def test_no_size_is_unreadable() -> None:
    assert read_header(b"BM" + bytes(40)) == UNREADABLE
