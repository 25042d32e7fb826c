"""Fields of BMP and TIFF that a decoder ignores or obeys on its own: masks, palettes, orientation, sizes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from models import ImageError
from models.images import decode, decode_whole
from tests.support.image_files import grey_tiff, tiff
from tests.support.packages import encoded, scene

GREY = scene(128, 96)
COLOUR = scene(128, 96, colour=True)


def bmp(pixels: np.ndarray, bits: int, compression: int = 0, palette: bytes = b"", masks: bytes = b"") -> bytes:
    """Return a BMP of 128x96 pixels, rows from top to bottom."""
    body = pixels.tobytes()
    sizes = (40, 128, -96, 1, bits, compression, len(body), 2835, 2835, len(palette) // 4, 0)
    header = struct.pack("<IiiHHIIiiII", *sizes) + masks + palette
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body


def masks(*values: int) -> bytes:
    return struct.pack("<III", *values)


FOUR = np.dstack([COLOUR, np.full((96, 128), 255, np.uint8)])
WORDS = (COLOUR[:, :, 2].astype("<u2") >> 3 << 11) | (COLOUR[:, :, 0].astype("<u2") >> 3)


@pytest.mark.parametrize(
    ("pixels", "bits", "red_green_blue"),
    [
        pytest.param(FOUR, 32, (0xFF, 0xFF00, 0xFF0000), id="red and blue exchanged"),
        pytest.param(FOUR, 32, (0x3FF00000, 0xFFC00, 0x3FF), id="10 bits a colour"),
        pytest.param(FOUR, 32, (0, 0, 0), id="no bits"),
        pytest.param(WORDS, 16, (0x1F, 0x7E0, 0xF800), id="16 bits, red and blue exchanged"),
        pytest.param(WORDS, 16, (0xF00, 0xF0, 0xF), id="16 bits, 4 a colour"),
    ],
)
def test_bit_fields_that_the_decoder_would_read_as_others_are_refused(
    pixels: np.ndarray, bits: int, red_green_blue: tuple[int, int, int]
) -> None:
    """OpenCV takes any 32 bits for blue, green, red and alpha: colours would be exchanged or noise."""
    with pytest.raises(ImageError, match="bit fields"):
        decode(bmp(pixels, bits, 3, masks=masks(*red_green_blue)), colour=True)


def test_usual_bit_fields_pass() -> None:
    data = bmp(FOUR, 32, 3, masks=masks(0xFF0000, 0xFF00, 0xFF))
    np.testing.assert_array_equal(decode(data, colour=True).pixels, COLOUR)
    found = decode(bmp(WORDS, 16, 3, masks=masks(0xF800, 0x7E0, 0x1F)), colour=True).pixels
    assert np.abs(found[:, :, 2].astype(int) - COLOUR[:, :, 2]).max() < 8


def test_a_colour_beyond_a_short_palette_is_damage() -> None:
    """OpenCV makes such pixels black."""
    palette = b"".join(bytes([level, level, level, 0]) for level in range(200))
    dark = np.minimum(GREY, 199)
    np.testing.assert_array_equal(decode(bmp(dark, 8, palette=palette)).pixels, dark)
    dark[50, 70] = 200
    with pytest.raises(ImageError, match="the colour 200 of a palette of 200"):
        decode(bmp(dark, 8, palette=palette))
    nibbles = np.full((96, 64), 0x31, np.uint8)
    assert decode(bmp(nibbles, 4, palette=palette[:16])).pixels[0, 0] == 3
    nibbles[5, 5] = 0x14
    with pytest.raises(ImageError, match="the colour 4 of a palette of 4"):
        decode(bmp(nibbles, 4, palette=palette[:16]))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_tiff_is_decoded_as_the_sensor_was_read(orientation: int, depth: type) -> None:
    """OpenCV turns and mirrors a TIFF whatever it is asked; boxes and regions are in pixels of the sensor."""
    data = grey_tiff(GREY.astype(depth) * (257 if depth is np.uint16 else 1), t274=orientation)
    np.testing.assert_array_equal(decode(data).pixels, GREY)
    assert decode_whole(data).shape == GREY.shape


@pytest.mark.parametrize("side", ["width", "height"])
@pytest.mark.parametrize("kind", ["bmp", "plain", "deflate"])
def test_a_side_that_lost_a_bit_is_damage(side: str, kind: str) -> None:
    """128x96 pixels whose header says 64x96 or 128x32: rows would be cut at wrong places, or be missing."""
    width, height = (64, 96) if side == "width" else (128, 32)
    if kind == "bmp":
        data = bytearray(encoded(COLOUR, ".bmp"))
        struct.pack_into("<ii", data, 18, width, height)
        assert struct.unpack_from("<I", data, 34)[0] in (0, COLOUR.nbytes)
        struct.pack_into("<I", data, 34, COLOUR.nbytes)
    else:
        packed = GREY.tobytes() if kind == "plain" else zlib.compress(GREY.tobytes())
        data = bytearray(tiff({256: width, 257: height, 278: 96, 259: 1 if kind == "plain" else 8}, [packed]))
    with pytest.raises(ImageError, match="damaged"):
        decode(bytes(data))


def test_sizes_that_contradict_the_file_are_no_damage() -> None:
    """Some writers leave other numbers there."""
    data = bytearray(encoded(COLOUR, ".bmp"))
    for stated in (0, 1, len(data), 2 * len(data), 2**32 - 1):
        struct.pack_into("<I", data, 34, stated)
        np.testing.assert_array_equal(decode(bytes(data), colour=True).pixels, COLOUR)
    parts = [GREY[:64].tobytes(), GREY[32:].tobytes()]
    for compression, pieces in ((1, parts), (8, [zlib.compress(part) for part in parts])):
        found = decode(tiff({256: 128, 257: 90, 278: 64, 259: compression}, pieces)).pixels
        np.testing.assert_array_equal(found, np.vstack([GREY[:64], GREY[32:58]]))
