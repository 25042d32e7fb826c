"""PNG and BMP: oddities that change no pixel pass; large files are checked piece by piece, and not counted whole."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from models import ImageError, images
from models.image_limits import BUDGET, DecodeBudget
from models.images import decode, decode_whole, decoding
from models.opencv import cv2
from tests.support.image_files import png
from tests.support.packages import encoded, scene

GREY = scene(64, 48)
ROWS = b"".join(b"\0" + row.tobytes() for row in GREY)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(GREY, packed=zlib.compress(ROWS + b"\7" * 4096)), id="bytes behind the last row"),
        pytest.param(png(GREY, (b"PLTE", bytes(9))), id="palette of a grey file"),
        pytest.param(png(GREY, (b"tRNS", bytes(5))), id="transparency of the wrong length"),
    ],
)
def test_what_opencv_ignores_in_a_png_passes(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    np.testing.assert_array_equal(decode(data).pixels, GREY)
    assert capfd.readouterr().err == ""


def test_more_surplus_bytes_are_refused() -> None:
    with pytest.raises(ImageError, match="more than"):
        decode(png(GREY, packed=zlib.compress(ROWS + bytes(4097))))


def test_a_bmp_of_0_planes_passes() -> None:
    data = encoded(GREY, ".bmp")
    assert data[26:28] == b"\1\0"
    np.testing.assert_array_equal(decode(data[:26] + b"\0\0" + data[28:]).pixels, GREY)


def zeros(count: int, before: bytes = b"") -> bytes:
    deflate = zlib.compressobj(1)
    parts = [deflate.compress(bytes(min(1 << 20, count - at))) for at in range(0, count, 1 << 20)]
    return b"".join([*parts, deflate.compress(before), deflate.flush()])


def test_a_filter_in_a_large_png_is_checked(capfd: pytest.CaptureFixture[str]) -> None:
    packed = zeros(8001 * 7000, b"\5" + bytes(8000))
    with pytest.raises(ImageError, match="filter"):
        decode(png(GREY, size_wh=(8000, 7001), packed=packed))
    assert capfd.readouterr().err == ""


def test_rows_that_are_never_all_in_memory_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 megapixels RGB for a grey model: 172 MiB of rows, over the budget, take 115 MiB."""
    monkeypatch.setattr(images, "BUDGET", DecodeBudget(150 * 2**20))
    with pytest.raises(ImageError, match="fewer than the 180010000 bytes") as caught:
        decode(png(np.zeros((1, 1, 3), np.uint8), size_wh=(6_000, 10_000)))
    assert caught.value.kind == "unreadable-image"


def test_rows_that_take_too_long_to_unpack_are_refused() -> None:
    with pytest.raises(ImageError, match="272 MiB, over the limit of 190 MiB, 2 bytes for each pixel of ") as caught:
        decode(png(np.zeros((1, 1, 3), np.uint8), size_wh=(9_500, 10_000)))
    assert caught.value.kind == "image-too-large"


def test_the_look_at_transparency_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.dstack([scene(64, 48, colour=True), np.full((48, 64), 255, np.uint8)])
    needed: list[int] = []
    share = BUDGET.share
    monkeypatch.setattr(BUDGET, "share", lambda *asked: needed.append(asked[0]) or share(*asked))
    with decoding(encoded(image)):
        assert BUDGET.used_bytes == 64 * 48  # the rest is released as soon as the pixels are there
    assert needed[0] >= 2 * 4 * 64 * 48 + 48 * (1 + 4 * 64)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("colour", [False, True])
def test_transparent_pixels_are_those_of_opencv(suffix: str, deep: bool, colour: bool) -> None:
    image = np.dstack([scene(64, 48, colour=True), np.arange(64 * 48).reshape(48, 64) % 256]).astype(np.uint8)
    data = encoded(image.astype(np.uint16) * 251 if deep else image, suffix)
    flag = cv2.IMREAD_COLOR_BGR if colour else cv2.IMREAD_GRAYSCALE
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_ANYDEPTH)
    expected = expected >> 8 if deep else expected
    np.testing.assert_array_equal(decode(data, colour=colour).pixels, expected)


def test_no_memory_is_an_error_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(cv2, "imdecode", no_memory)
    with pytest.raises(ImageError, match="no memory left") as caught:
        decode_whole(encoded(GREY))
    assert caught.value.kind == "image-too-large"


def test_a_colour_png_with_transparency_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.dstack([scene(64, 48, colour=True), np.full((48, 64), 7, np.uint8)])
    data, calls, real = encoded(image), [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *given: calls.append(given) or real(*given))
    np.testing.assert_array_equal(decode(data, colour=True).pixels, image[:, :, :3])
    assert len(calls) == 1
