"""Decoding: bounded, tolerant of nothing, and scaled by the file's type."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import ImageError
from models.images import decode, image_header
from models.opencv import cv2
from models.preprocess import resize
from schemas.records import Encoding
from tests.support.packages import encoded, scene

EXTENSIONS = {".jpg": Encoding.JPEG, ".png": Encoding.PNG, ".bmp": Encoding.BMP, ".tiff": Encoding.TIFF}
STARTS = (b"", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"\x89PNG\r\n\x1a\n")
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def forged_jpeg(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = bytearray(encoded(scene(640, 480), ".jpg"))
    at = data.find(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (641, 479)])
@pytest.mark.parametrize("colour", [False, True])
def test_header_and_pixels_agree(extension: str, size: tuple[int, int], colour: bool) -> None:
    data = encoded(scene(*size, colour=colour), extension)
    header = image_header(data)
    assert (header.encoding, header.width, header.height) == (EXTENSIONS[extension], *size)
    pixels = decode(data, colour=colour).pixels
    assert pixels.shape[:2] == size[::-1]
    assert (pixels.ndim, pixels.dtype) == (3 if colour else 2, np.uint8)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(
    ("size", "divisor"), [((640, 480), 2), ((1920, 1080), 4), ((1792, 1800), 8), ((1793, 1795), 1), ((450, 902), 2)]
)
def test_reduced_decode_is_close_to_the_full_one(size: tuple[int, int], divisor: int, colour: bool) -> None:
    data = encoded(scene(*size, colour=colour), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95)
    needed = (224, 224)
    reduced, full = decode(data, colour=colour, needed_wh=needed).pixels, decode(data, colour=colour).pixels
    assert reduced.shape[:2] == (size[1] // divisor, size[0] // divisor)
    difference = np.abs(resize(reduced, needed).astype(int) - resize(full, needed).astype(int))
    # In grey levels: under one on average, a few at a hard edge.
    assert difference.mean() < 1.0
    assert np.percentile(difference, 99.9) <= 16


def test_never_smaller_than_needed() -> None:
    data = encoded(scene(640, 480), ".jpg")
    for needed in ((320, 240), (321, 240), (320, 241), (80, 60), (81, 60), (640, 480), (1000, 1000)):
        height, width = decode(data, needed_wh=needed).pixels.shape
        assert width >= min(needed[0], 640)
        assert height >= min(needed[1], 480)


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_16_bit_is_scaled_by_type_not_by_content(extension: str) -> None:
    dark = np.full((6, 7), 514, np.uint16)
    bright = np.full((6, 7), 65535, np.uint16)
    assert set(decode(encoded(dark, extension)).pixels.ravel()) == {2}
    assert set(decode(encoded(bright, extension)).pixels.ravel()) == {255}


def test_alpha_is_dropped() -> None:
    data = encoded(np.dstack([scene(9, 7, colour=True), np.zeros((7, 9), np.uint8)]), ".png")
    assert decode(data, colour=True).pixels.shape == (7, 9, 3)
    assert decode(data).pixels.mean() > 20


def test_exif_orientation_is_ignored() -> None:
    plain = encoded(scene(64, 32), ".jpg")
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    turned = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_GRAYSCALE).shape == (64, 32)
    for needed in (None, (16, 8)):
        np.testing.assert_array_equal(decode(turned, needed_wh=needed).pixels, decode(plain, needed_wh=needed).pixels)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.97])
@pytest.mark.parametrize("options", [(), PROGRESSIVE], ids=["plain", "progressive"])
def test_cut_off(extension: str, share: float, options: tuple[int, ...]) -> None:
    data = encoded(scene(320, 240), extension, *(options if extension == ".jpg" else ()))
    for needed in (None, (64, 64)):
        with pytest.raises(ImageError) as caught:
            decode(data[: int(len(data) * share)], needed_wh=needed)
        assert caught.value.kind == "unreadable-image"


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"\xff\xd8\xff", b"BM", b"II*\0", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(40), bytes(1000),
     b"II*\0" + b"\xff" * 60, b"BM" + b"\xff" * 60, b"\xff\xd8" + b"\xff" * 60],
)  # fmt: skip
def test_garbage(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.kind == "unreadable-image"


def test_float_pixels_are_refused() -> None:
    with pytest.raises(ImageError, match="TIFF"):
        decode(encoded(np.ones((4, 4), np.float32), ".tiff"))


def test_forged_size_fails_at_once() -> None:
    data = forged_jpeg(30_000, 30_000)
    began = time.process_time()
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.kind == "image-too-large"
    assert time.process_time() - began < 0.1


def test_forged_size_takes_no_memory_even_past_our_own_check() -> None:
    # Second defence: the memory budget, in a fresh process, with the limit on pixels lifted.
    code = """
import resource, sys
from models.images import decode
from models import ImageError
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(data, max_pixels=10**12)
except ImageError as error:
    assert error.kind == "image-too-large", error.kind
else:
    raise SystemExit("decoded")
grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
raise SystemExit(f"took {grown_kib} KiB" if grown_kib > 50_000 else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], input=forged_jpeg(30_000, 30_000), capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()


def test_pixel_limit_is_the_callers() -> None:
    with pytest.raises(ImageError, match="640x480 pixels are over the limit of 1000"):
        decode(encoded(scene(640, 480)), max_pixels=1000)


@given(st.binary(max_size=300), st.sampled_from(STARTS))
def test_random_bytes_raise_image_errors_only(data: bytes, start: bytes) -> None:
    with contextlib.suppress(ImageError):
        decode(start + data, needed_wh=(4, 4), max_pixels=10_000)


@given(st.integers(0, 4000), st.integers(0, 255), st.sampled_from(sorted(EXTENSIONS)))
def test_one_altered_byte_raises_image_errors_only(at: int, value: int, extension: str) -> None:
    data = bytearray(encoded(scene(24, 16), extension))
    data[at % len(data)] = value
    try:
        pixels = decode(bytes(data), max_pixels=10_000).pixels
    except ImageError:
        return
    assert pixels.dtype == np.uint8
