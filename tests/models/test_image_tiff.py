"""TIFF: tags, strips and packing that claim more than there is; strips that writers leave without sizes."""

from __future__ import annotations

import re
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest

from models import ImageError
from models.images import decode
from models.opencv import cv2
from tests.support.image_files import grey_tiff, tiff
from tests.support.packages import encoded, scene

GREY = scene(64, 48)


def refused(data: bytes, reason: str) -> None:
    """Refused for the reason, with less than 20 MB and a second of processor time."""
    tracemalloc.start()
    began = time.thread_time()
    try:
        with pytest.raises(ImageError, match=reason):
            decode(data)
        assert time.thread_time() - began < 1
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", [258, 281, 320, 325, 339, 65000])
def test_many_numbers_of_a_tag_are_not_read(number: int) -> None:
    """The tag claims 3 million numbers, which are there; several such tags overlap."""
    data = bytearray(grey_tiff(GREY))
    at = len(data)
    data += bytes(12_000_000)
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    entries = bytes(data[directory + 2 : directory + 2 + 12 * count])
    more = b"".join(struct.pack("<HHII", each, 4, 3_000_000, at) for each in (number, 65001, 65002))
    data[4:8] = struct.pack("<I", len(data))
    data += struct.pack("<H", count + 3) + entries + more + bytes(4)
    refused(bytes(data), "overlap|values of type")


def test_many_pages_are_not_read() -> None:
    refused(tiff({256: 64, 257: 48, 278: 48}, [GREY.tobytes()], pages=100), "circle")


@pytest.mark.parametrize("compression", [5, 8, 32773])
def test_strips_must_not_overlap(compression: int) -> None:
    packed = zlib.compress(bytes(16)) + bytes(1000)
    data = tiff({256: 16, 257: 200, 278: 1, 259: compression, 273: [8] * 200, 279: [len(packed)] * 200}, [packed])
    refused(data, "overlap")


def clears(count: int) -> bytes:
    """LZW codes: a clear code and a byte, again and again."""
    return np.packbits(np.tile(np.array([1] + [0] * 17, np.uint8), count)).tobytes()


def test_codes_that_bring_little_take_no_time() -> None:
    refused(tiff({256: 1000, 257: 1000, 278: 1000, 259: 5}, [clears(400_000)]), "does not hold")
    refused(tiff({256: 1000, 257: 1000, 278: 1000, 259: 32773}, [b"\x80" * 4_000_000]), "does not hold")
    whole = tiff({256: 100, 257: 100, 278: 100, 259: 5}, [clears(10_001)])
    assert not decode(whole).pixels.any()


SIZES = [(1, 1), (2, 1), (1, 7), (7, 3), (31, 31), (31, 61), (31, 1), (91, 4), (100, 100), (400, 300), (301, 299)]


@pytest.mark.parametrize("compression", [5, 32773], ids=["lzw", "packbits"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_each_short_strip_is_found(compression: int, size: tuple[int, int], rows: int) -> None:
    width, height = size
    for image in (scene(width, height), np.zeros((height, width), np.uint8)):
        data = encoded(image, ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_PREDICTOR, 1,
                       cv2.IMWRITE_TIFF_ROWSPERSTRIP, rows)  # fmt: skip
        np.testing.assert_array_equal(decode(data).pixels, image)
        (at,) = struct.unpack_from("<I", data, 4)
        entry = data.index(struct.pack("<H", 256), at)
        wider = data[: entry + 8] + struct.pack("<H", width + 2) + data[entry + 10 :]
        refused(wider, "does not hold|cut off")


@pytest.mark.parametrize("sizes", [None, 0, 1, 2000, 2**32 - 1])
@pytest.mark.parametrize("strips", [1, 3])
def test_uncompressed_strips_need_no_sizes(sizes: int | None, strips: int) -> None:
    high = 48 // strips
    pieces = [GREY[at : at + high].tobytes() for at in range(0, 48, high)]
    data = tiff({256: 64, 257: 48, 278: high, 279: [sizes or 0] * strips}, pieces)
    if sizes is None:
        data = data.replace(struct.pack("<HHI", 279, 4, strips), struct.pack("<HHI", 65000, 4, strips))
    np.testing.assert_array_equal(decode(data).pixels, GREY)


def test_a_later_directory_outside_the_file_ends_the_list() -> None:
    data = grey_tiff(GREY)
    assert re.search(rb"\0\0\0\0$", data)
    for link in (3, len(data) - 5, len(data) + 7, 2**32 - 1):
        np.testing.assert_array_equal(decode(data[:-4] + struct.pack("<I", link)).pixels, GREY)


@pytest.mark.parametrize("number", [256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 338, 339])
@pytest.mark.parametrize("value", [np.nan, np.inf, 64.0], ids=str)
def test_numbers_of_the_layout_are_whole(number: int, value: float) -> None:
    data = bytearray(grey_tiff(GREY, t266=1, t284=1, t317=1, t338=0, t339=1))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    entries = range(directory + 2, directory + 2 + 12 * count, 12)
    entry = next(at for at in entries if struct.unpack_from("<H", data, at)[0] == number)
    struct.pack_into("<HI", data, entry + 2, 11, 1)
    struct.pack_into("<f", data, entry + 8, value)
    refused(bytes(data), f"tag {number} has 1 values of type 11|over the limit")


@pytest.mark.parametrize("kind", [0, 0x3F00])
def test_a_side_that_the_header_reads_and_the_tag_does_not(kind: int) -> None:
    """A BYTE of 0 within four bytes that are not 0."""
    data = bytearray(grey_tiff(GREY))
    (directory,) = struct.unpack_from("<I", data, 4)
    struct.pack_into("<HIBBH", data, directory + 4, 1, 1, 0, 0, 1)
    struct.pack_into("<HIBBH", data, directory + 16, 1, 1, kind >> 8, 0, 0 if kind else 1)
    refused(bytes(data), "pixels")


def test_float_statistics_of_samples_are_ignored() -> None:
    data = bytearray(grey_tiff(GREY, t341=255))
    at = data.index(struct.pack("<HHI", 341, 4, 1))
    struct.pack_into("<HHIf", data, at, 341, 11, 1, np.nan)
    np.testing.assert_array_equal(decode(bytes(data)).pixels, GREY)
