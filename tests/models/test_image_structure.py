"""Structure: lengths, counts and offsets are compared with the bytes of the file before a decoder sees them."""

from __future__ import annotations

import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from models import ImageError
from models.images import decode
from models.opencv import cv2
from tests.support.image_files import chunk, grey_tiff, many_scans, png, scans_of, segment, tiff
from tests.support.packages import encoded, scene

GREY = scene(64, 48)
COLOUR = scene(64, 48, colour=True)
JPEG = encoded(GREY, ".jpg")
PROGRESSIVE = encoded(COLOUR, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
BMP = encoded(GREY, ".bmp")
START = b"\x89PNG\r\n\x1a\n"


def why(data: bytes, **options: object) -> ImageError:
    """Return the error that decoding raises, without memory of the size that the file claims."""
    tracemalloc.start()
    try:
        with pytest.raises(ImageError) as caught:
            decode(data, **options)  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    return caught.value


def altered(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


HEADER_32 = chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0))
GOOD_PNG = png(GREY)

REFUSED = {
    "png: IDAT claims 4 GB": (START + HEADER_32 + struct.pack(">I", 0xFFFFFFF0) + b"IDAT" + bytes(8), "4294967280"),
    "png: text claims 4 GB": (START + HEADER_32 + struct.pack(">I", 0xFFFFFFF0) + b"tEXt" + bytes(8), "4294967280"),
    "png: no end": (GOOD_PNG[:-12], "cut off"),
    "png: check sum of a pixel": (altered(GOOD_PNG, 60, bytes([GOOD_PNG[60] ^ 1])), "check sum"),
    "png: check sum of the header": (altered(GOOD_PNG, 30, b"\0"), "check sum"),
    "png: half of the rows": (png(GREY, packed=zlib.compress(bytes(65 * 24))), "fewer"),
    "png: more rows than the header says": (png(GREY, packed=zlib.compress(bytes(10_000_000))), "more"),
    "png: stream cut": (png(GREY, packed=zlib.compress(bytes(65 * 48))[:-9]), "fewer|no end"),
    "png: filter": (png(GREY, packed=zlib.compress(bytes([9] * 65 * 48))), "filter"),
    "png: no data": (START + HEADER_32 + chunk(b"IEND", b""), "no image data"),
    "png: two headers": (GOOD_PNG[:33] + GOOD_PNG[8:], "two headers"),
    "png: palette missing": (START + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 3, 0, 0, 0))
                             + chunk(b"IDAT", zlib.compress(bytes(2))) + chunk(b"IEND", b""), "palette"),
    "png: animation": (png(GREY, (b"acTL", struct.pack(">II", 2, 0))), "animation of 2"),
    "jpeg: no end": (JPEG[:-2], "cut off"),
    "jpeg: segment too long": (altered(JPEG, 4, b"\xff\xff"), "cut off"),
    "jpeg: bytes between segments": (JPEG[:2] + b"\x42" * 65 + JPEG[2:], "no segment"),
    "jpeg: half the data and an end": (JPEG[: len(JPEG) // 2] + b"\xff\xd9", "damaged"),
    "jpeg: zeros": (altered(JPEG, len(JPEG) // 2, bytes(200)), "damaged"),
    "jpeg: bytes missing": (JPEG[: len(JPEG) // 2] + JPEG[len(JPEG) // 2 + 300 :], "damaged"),
    "jpeg: first scan alone": (PROGRESSIVE[: scans_of(PROGRESSIVE)[1]] + b"\xff\xd9", "lacks"),
    "jpeg: last scan missing": (PROGRESSIVE[: scans_of(PROGRESSIVE)[-1]] + b"\xff\xd9", "lacks scans"),
    "jpeg: a scan in the middle missing": (
        PROGRESSIVE[: scans_of(PROGRESSIVE)[4]] + PROGRESSIVE[scans_of(PROGRESSIVE)[5] :], "scans"),
    "jpeg: a scan twice": (
        PROGRESSIVE[: scans_of(PROGRESSIVE)[2]] + PROGRESSIVE[scans_of(PROGRESSIVE)[1] :], "follow"),
    "jpeg: 65 scans": (many_scans(65), "more than 64 scans"),
    "jpeg: arithmetic": (JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1), "arithmetic-coded"),
    "jpeg: JPEG-LS": (JPEG.replace(b"\xff\xc0", b"\xff\xf7", 1), "JPEG-LS"),
    "jpeg: lossless": (JPEG.replace(b"\xff\xc0", b"\xff\xc3", 1), "lossless"),
    "jpeg: height behind the picture": (
        altered(JPEG, JPEG.index(b"\xff\xc0") + 5, b"\0\0"), "height behind the picture"),
    "jpeg: 12 bits": (altered(JPEG, JPEG.index(b"\xff\xc0") + 4, b"\x0c"), "12-bit"),
    "tiff: short strip": (tiff({256: 64, 257: 48, 278: 48}, [GREY.tobytes()[:2000]]), "to 3080 of"),
    "tiff: short deflate": (tiff({256: 64, 257: 48, 278: 48, 259: 8}, [zlib.compress(bytes(2000))]), "of 3072"),
    "tiff: a strip missing": (tiff({256: 64, 257: 48, 278: 24}, [GREY.tobytes()[:1536]]), "1 strips or tiles"),
    "tiff: strip outside": (grey_tiff(GREY, t273=2**31), "lies at bytes"),
    "tiff: directory outside": (altered(grey_tiff(GREY), 4, b"\xff\xff\xff\x7f"), "header"),
    "tiff: two pages": (tiff({256: 64, 257: 48, 278: 48}, [GREY.tobytes()], pages=2), "2 pages"),
    "tiff: float": (encoded(np.ones((4, 4), np.float32), ".tiff"), "32-bit float samples are not supported, save as"),
    "tiff: signed": (grey_tiff(GREY.astype(np.uint16), t339=2), "16-bit signed samples are not supported, save as"),
    "tiff: JPEG inside": (grey_tiff(GREY, t259=7), "compressed with JPEG is not supported"),
    "tiff: 32 bits": (grey_tiff(GREY.astype(np.uint32)), "32 bits"),
    "tiff: CIELab": (tiff({256: 64, 257: 48, 278: 48, 277: 3, 262: 8}, [COLOUR.tobytes()]), r"CIE L\*a\*b\*"),
    "bmp: rows missing": (BMP[:-64], "cut off"),
    "bmp: pixels outside": (altered(BMP, 10, struct.pack("<I", 2**31)), "pixels begin"),
    "bmp: palette of 4 GB": (altered(BMP, 46, struct.pack("<I", 2**32 - 1)), "palette"),
    "bmp: JPEG inside": (altered(BMP, 30, struct.pack("<I", 4)), "JPEG within a BMP"),
    "bmp: run lengths of some rows": (
        struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 0, 0, 0, 1078, 40, 64, 48, 1, 8, 1, 0, 0, 0, 0, 0)
        + bytes(1024) + b"\x40\x05\0\0" * 10 + b"\0\1", r"run lengths \(RLE8\) within a BMP is not supported"),
    "png: a side over libpng's limit": (
        png(np.zeros((1, 1_000_001), np.uint8)), "a side has at most 1000000 pixels"),
    "gif": (b"GIF89a" + bytes(40), "GIF is not supported; save as"),
    "webp": (b"RIFF\0\0\0\0WEBPVP8 ", "WebP is not supported"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000 is not supported"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data, reason = REFUSED[name]
    for options in ({}, {"colour": True}, {"needed_wh": (8, 6)}):
        error = why(data, **options)
        assert error.kind == "unreadable-image", error
        assert re.search(reason, str(error)), error
    # No message of a library bypasses logging.
    assert capfd.readouterr().err == ""


def test_a_tile_larger_than_its_picture_is_too_large() -> None:
    body = zlib.compress(bytes(1000))
    for wide, high, says in ((16384, 14336, "INSPECTION_MAX_IMAGE_MEGAPIXELS"), (9008, 9008, "DECODE_MEMORY_MIB")):
        data = tiff({256: 16, 257: 16, 259: 8, 322: wide, 323: high}, [body], is_tiled=True)
        error = why(data)
        assert error.kind == "image-too-large"
        assert says in str(error)


def test_chunks_that_unpack_to_much_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    bomb = zlib.compress(bytes(50_000_000))
    for kind in (b"iCCP", b"zTXt"):
        data = png(GREY, (kind, b"x\0\0" + bomb))
        np.testing.assert_array_equal(decode(data).pixels, GREY)
    assert capfd.readouterr().err == ""


def test_64_scans_are_decoded() -> None:
    data = many_scans(64)
    assert decode(data).pixels.shape == (64, 64)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(JPEG + bytes(1000), id="zeros behind the end"),
        pytest.param(JPEG + JPEG, id="a second picture behind the end"),
        pytest.param(JPEG[:2] + b"\xff\xff" + JPEG[2:], id="fill bytes"),
        pytest.param(JPEG[:20] + bytes(3) + JPEG[20:], id="zeros between segments"),
        pytest.param(JPEG[:2] + segment(0xE1, b"Exif\0\0" + JPEG) + JPEG[2:], id="a thumbnail in APP1"),
        pytest.param(JPEG[:2] + segment(0xE2, b"MPF\0" + JPEG) + segment(0xFE, b"\xff\xd9") + JPEG[2:], id="MPF, COM"),
    ],
)
def test_what_cameras_add_to_a_jpeg_passes(data: bytes) -> None:
    np.testing.assert_array_equal(decode(data).pixels, decode(JPEG).pixels)


@pytest.mark.parametrize("compression", [1, 5, 8, 32946, 32773], ids=["none", "lzw", "deflate", "adobe", "packbits"])
@pytest.mark.parametrize("image", [GREY, COLOUR, GREY.astype(np.uint16) * 257], ids=["grey", "colour", "16 bit"])
def test_packed_strips_are_measured(compression: int, image: np.ndarray) -> None:
    data = encoded(image, ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 48)
    healthy = decode(data).pixels
    np.testing.assert_array_equal(healthy, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE))
    at = data.index(struct.pack("<H", 257), struct.unpack_from("<I", data, 4)[0])
    higher = altered(data, at + 8, struct.pack("<H", 60))
    rows = data.find(struct.pack("<H", 278), at)
    higher = altered(higher, rows + 8, struct.pack("<H", 60))
    assert why(higher).kind == "unreadable-image"
