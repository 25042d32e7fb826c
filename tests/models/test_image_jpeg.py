"""JPEG: what cameras write that the decoder warns of passes; fill bytes cost no time; lost data stay refused."""

from __future__ import annotations

import io
import re
import struct
import time

import numpy as np
import pytest
from PIL import Image

from models import ImageError
from models.images import decode
from models.opencv import cv2
from tests.support.image_files import many_scans, segment
from tests.support.packages import encoded, scene

GREY = scene(64, 48)
JPEG = encoded(GREY, ".jpg")
RESTARTS = encoded(GREY, ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
SCAN = JPEG.index(b"\xff\xda")


@pytest.mark.parametrize("data", [b"\xff\xd8" + b"\xff" * 4_000_000, b"\xff\xd8\xff\xe0\0\2" + b"\xff\0" * 2_000_000])
def test_fill_bytes_cost_no_time(data: bytes) -> None:
    began = time.thread_time()
    with pytest.raises(ImageError, match="JPEG"):
        decode(data)
    assert time.thread_time() - began < 0.3


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("subsampling", ["4:2:2", "4:2:0"])
def test_a_whole_file_whose_sampling_is_not_decoded_is_not_called_damaged(subsampling: str, colour: bool) -> None:
    file = io.BytesIO()
    Image.fromarray(GREY).convert("CMYK").save(file, "JPEG", subsampling=subsampling)
    with pytest.raises(
        ImageError, match="sampled in a way that is not supported; save as grey, or with 4:4:4"
    ) as found:
        decode(file.getvalue(), colour=colour)
    assert "damaged" not in str(found.value)


@pytest.mark.parametrize("version", [b"\0\0", b"\2\1"])
def test_any_jfif_version_passes(version: bytes) -> None:
    at = JPEG.index(b"JFIF\0") + 5
    np.testing.assert_array_equal(decode(JPEG[:at] + version + JPEG[at + 2 :]).pixels, decode(JPEG).pixels)


def test_a_baseline_scan_without_spectral_selection_passes() -> None:
    assert JPEG[SCAN + 7 : SCAN + 10] == b"\0\x3f\0"
    for before in (b"", bytes(3)):  # also together with padding that is cut out
        data = JPEG[:20] + before + JPEG[20 : SCAN + 7] + bytes(3) + JPEG[SCAN + 10 :]
        np.testing.assert_array_equal(decode(data).pixels, decode(JPEG).pixels)


def test_zeros_before_markers_of_a_scan_are_left_out() -> None:
    begin = RESTARTS.index(b"\xff\xda") + 10
    padded = RESTARTS[:begin] + re.sub(rb"(?=\xff[\xd0-\xd9])", b"\0", RESTARTS[begin:])
    assert len(padded) > len(RESTARTS) + 5
    for data in (padded, RESTARTS[:-2] + bytes(7) + b"\xff\xd9", JPEG[:-2] + bytes(5) + b"\xff\xd9"):
        np.testing.assert_array_equal(
            decode(data).pixels, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        )


@pytest.mark.parametrize("count", [8, 63, 64, 200, 400])
def test_data_overwritten_with_zeros_stay_refused(count: int) -> None:
    for data in (JPEG[: -2 - count] + bytes(count) + b"\xff\xd9", JPEG[:-2] + b"\x12" * count + b"\xff\xd9"):
        with pytest.raises(ImageError, match="damaged"):
            decode(data)


def test_a_few_stray_bytes_between_segments_are_left_out_with_a_remark() -> None:
    whole = decode(JPEG)
    assert whole.remarks == ()
    for data in (JPEG[:2] + b"\x42\x43" + JPEG[2:], JPEG[:20] + b"\x42" * 64 + segment(0xE5, b"x") + JPEG[20:]):
        decoded = decode(data)
        np.testing.assert_array_equal(decoded.pixels, whole.pixels)
        assert [remark.kind for remark in decoded.remarks] == ["stray-bytes"]


def test_scans_are_bounded_by_the_blocks_that_they_visit() -> None:
    data = many_scans(64)
    assert decode(data).pixels.shape == (64, 64)
    at = data.index(b"\xff\xc2") + 5
    with pytest.raises(ImageError, match="too many scans"):
        decode(data[:at] + struct.pack(">HH", 8800, 8800) + data[at + 4 :])


def _textured(side: int) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, 6, (side, side))
    rows, columns = np.mgrid[:side, :side]
    return np.clip(128 + 60 * np.sin(columns / 9) + 30 * np.cos(rows / 13) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [80, 1400])
@pytest.mark.parametrize("optimised", [0, 1])
def test_zeros_in_the_place_of_a_packet_are_refused_wherever_they_are(optimised: int, size: int) -> None:
    """The number of blocks fits by chance in one place of six: then the decoder gives no warning."""
    grey = _textured(320)
    colour = cv2.merge([grey, grey.T.copy(), 255 - grey])
    for image in (grey, colour):
        data = encoded(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_OPTIMIZE, optimised)
        for at in range(data.index(b"\xff\xda") + 14, len(data) - size - 2, len(data) // 40):
            with pytest.raises(ImageError, match="damaged"):
                decode(data[:at] + bytes(size) + data[at + size :])


@pytest.mark.parametrize("optimised", [0, 1])
@pytest.mark.parametrize("progressive", [0, 1])
def test_a_plain_surface_has_long_zeros_and_passes(optimised: int, progressive: int) -> None:
    for image in (np.full((1024, 1024), 128, np.uint8), np.full((1024, 1024, 3), 128, np.uint8)):
        options = (cv2.IMWRITE_JPEG_OPTIMIZE, optimised, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
        data = encoded(image, ".jpg", *options)
        assert decode(data).pixels.min() == 128
