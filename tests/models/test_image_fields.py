"""Fields of BMP and TIFF that a decoder ignores or obeys on its own: masks, palettes, orientation, sizes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

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
    parts = [GREY[:64].tobytes(), GREY[32:58].tobytes() + bytes(38 * 128)]
    for compression, pieces in ((1, parts), (8, [zlib.compress(part) for part in parts])):
        found = decode(tiff({256: 128, 257: 90, 278: 64, 259: compression}, pieces)).pixels
        np.testing.assert_array_equal(found, np.vstack([GREY[:64], GREY[32:58]]))


def png(
    depth: int, pixels: np.ndarray, colours: int, *, filters: int = 0, interlaced: bool = False, more: bytes = b""
) -> bytes:
    """Return an indexed PNG; ``pixels`` are numbers of colours, whose grey levels are 3 apart.

    ``filters`` is the filter of all rows: 0 or 2 (the difference to the row above).
    """

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = pixels.shape
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for left, top, step_x, step_y in passes if interlaced else [(0, 0, 1, 1)]:
        part = pixels[top::step_y, left::step_x]
        above: np.ndarray | None = None
        for row in part if part.size else ():
            bits = np.unpackbits(row[:, None].astype(np.uint8), axis=1)[:, 8 - depth :]
            packed = np.packbits(bits.ravel())
            raw += bytes([filters]) + (packed - (0 if above is None or filters == 0 else above)).tobytes()
            above = packed
    header = struct.pack(">IIBBBBB", width, height, depth, 3, 0, 0, interlaced)
    palette = bytes(3 * number % 256 for number in range(colours) for _ in range(3))
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"tRNS", more), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks if body or kind != b"tRNS")


@pytest.mark.parametrize("interlaced", [False, True], ids=["rows", "seven passes"])
@pytest.mark.parametrize("filters", [0, 2], ids=["plain", "differences"])
@pytest.mark.parametrize(("depth", "colours"), [(1, 1), (2, 3), (4, 5), (8, 80)])
def test_a_colour_beyond_a_short_palette_of_a_png_is_damage(
    depth: int, colours: int, filters: int, interlaced: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """OpenCV makes such pixels black, or leaves the number of the colour."""
    pixels = np.arange(37 * 21).reshape(21, 37) % colours
    for more in (b"", b"\xff\x80"[: min(2, colours)]):
        found = decode(png(depth, pixels, colours, filters=filters, interlaced=interlaced, more=more)).pixels
        np.testing.assert_array_equal(found, 3 * pixels)
    for row, column in ((0, 0), (20, 36), (11, 8)):
        wrong = pixels.copy()
        wrong[row, column] = colours
        data = png(depth, wrong, colours, filters=filters, interlaced=interlaced)
        for read in (decode, decode_whole):
            with pytest.raises(ImageError, match=f"the colour {colours} of a palette of {colours}") as refused:
                read(data)
            assert refused.value.kind == "unreadable-image"
    assert capfd.readouterr() == ("", "")


def test_a_large_png_is_checked_without_its_rows_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.image_structure.png._HANDED_OVER_BYTES", 100)
    pixels = np.arange(37 * 21).reshape(21, 37) % 80
    np.testing.assert_array_equal(decode(png(8, pixels, 80)).pixels, 3 * pixels)
    pixels[5, 5] = 80
    with pytest.raises(ImageError, match="the colour 80 of a palette of 80"):
        decode(png(8, pixels, 80))


def lzw(data: bytes) -> bytes:
    """Pack as TIFF's LZW does, with a table that is cleared before its codes grow."""
    bits: list[str] = []
    for at in range(0, len(data), 200):
        bits += [f"{256:09b}", *(f"{byte:09b}" for byte in data[at : at + 200])]
    text = "".join(bits) + f"{257:09b}"
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def packbits(data: bytes) -> bytes:
    """Pack as TIFF's PackBits does, in runs without repetition."""
    return b"".join(bytes([len(data[at : at + 128]) - 1]) + data[at : at + 128] for at in range(0, len(data), 128))


@pytest.mark.parametrize("pack", [lzw, packbits])
@pytest.mark.parametrize(
    ("size", "strips"),
    [
        pytest.param((64, 96), [(0, 96)], id="half the width"),
        pytest.param((128, 32), [(0, 96)], id="a third of the height"),
        pytest.param((32, 96), [(0, 48), (48, 96)], id="two strips of a quarter of the width"),
        pytest.param((128, 96), [(0, 48), (10, 96)], id="surplus rows in the last strip"),
        pytest.param((128, 96), [(0, 90), (48, 96)], id="surplus rows in the first strip"),
    ],
)
def test_surplus_rows_in_packed_strips_are_damage(
    pack: Callable[[bytes], bytes],
    size: tuple[int, int],
    strips: list[tuple[int, int]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    rows = -(-size[1] // len(strips))
    data = tiff(
        {256: size[0], 257: size[1], 278: rows, 259: 5 if pack is lzw else 32773},
        [pack(GREY[begin:end].tobytes()) for begin, end in strips],
    )
    for read in (decode, decode_whole):
        with pytest.raises(ImageError, match=r"the TIFF is damaged: strip or tile \d holds more than") as refused:
            read(data)
        assert refused.value.kind == "unreadable-image"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("pack", [lzw, packbits])
@pytest.mark.parametrize("surplus", [0, 1, 126])
@pytest.mark.parametrize("width", [128, 127])
def test_less_than_a_row_too_much_in_packed_strips_is_no_damage(
    pack: Callable[[bytes], bytes], surplus: int, width: int
) -> None:
    """Some writers pad strips, and write the last one whole."""
    image = np.vstack([GREY[:64, :width], GREY[32:58, :width]])
    parts = [
        pack(image[:64].tobytes() + bytes(surplus)), pack(image[64:].tobytes() + bytes(38 * width) + bytes(surplus)),
    ]  # fmt: skip
    found = decode(tiff({256: width, 257: 90, 278: 64, 259: 5 if pack is lzw else 32773}, parts)).pixels
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("pack", [bytes, zlib.compress, lzw, packbits])
@pytest.mark.parametrize("rows", [(58, 38), (90, 6), (95, 1)], ids=str)
def test_rows_that_the_last_strip_has_and_the_picture_does_not_are_damage(
    pack: Callable[[bytes], bytes], rows: tuple[int, int]
) -> None:
    """128x96 pixels in strips of 48 rows, whose height lost a bit: the count of strips is the same."""
    high, missing = rows
    parts = [pack(GREY[:48].tobytes()), pack(GREY[48:].tobytes())]
    tags = {256: 128, 278: 48, 259: {bytes: 1, zlib.compress: 8, lzw: 5, packbits: 32773}[pack]}
    np.testing.assert_array_equal(decode(tiff(tags | {257: 96}, parts)).pixels, GREY)
    assert high + missing == 96
    with pytest.raises(ImageError, match="the TIFF is damaged"):
        decode(tiff(tags | {257: high}, parts))


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize(("at", "value"), [(18, 64), (18, 120), (22, 32), (22, 95), (28, 16)])
def test_a_bmp_with_more_bytes_than_its_pixels_take_is_damage(at: int, value: int, stated: bool) -> None:
    data = bytearray(encoded(COLOUR, ".bmp"))
    struct.pack_into("<I", data, 34, COLOUR.nbytes if stated else 0)
    np.testing.assert_array_equal(decode(bytes(data) + bytes(10_000), colour=True).pixels, COLOUR)
    struct.pack_into("<H" if at == 28 else "<i", data, at, value)
    with pytest.raises(ImageError, match="damaged"):
        decode(bytes(data))


def test_bytes_behind_the_pixels_of_a_bmp_are_no_damage() -> None:
    plain = encoded(COLOUR, ".bmp")
    data = bytearray(plain)
    struct.pack_into("<I", data, 34, 0)
    padded = data + bytes(4096)
    struct.pack_into("<I", padded, 2, len(padded))
    np.testing.assert_array_equal(decode(bytes(padded), colour=True).pixels, COLOUR)
    # A header of version 5, with a profile behind the pixels.
    header = bytearray(124)
    header[:40], header[:4] = data[14:54], struct.pack("<I", 124)
    profile = bytes(range(256)) * 4
    struct.pack_into("<II", header, 112, 124 + COLOUR.nbytes, len(profile))
    size = 14 + 124 + COLOUR.nbytes + len(profile)
    head = b"BM" + struct.pack("<IHHI", size, 0, 0, 14 + 124)
    found = decode(bytes(head + header) + plain[54:] + profile, colour=True)
    np.testing.assert_array_equal(found.pixels, COLOUR)


def test_a_last_strip_that_a_predictor_has_padded_is_no_damage() -> None:
    rows = np.vstack([GREY[:80], np.full((16, 128), 255, np.uint8)])
    differences = np.diff(rows, axis=1, prepend=np.uint8(0)).astype(np.uint8)
    parts = [zlib.compress(each.tobytes()) for each in (differences[:48], differences[48:])]
    tags: dict[int, int | list[int]] = {256: 128, 257: 80, 278: 48, 259: 8, 317: 2}
    np.testing.assert_array_equal(decode(tiff(tags, parts)).pixels, GREY[:80])
    repeated = [zlib.compress(each.tobytes()) for each in (GREY[:48], np.vstack([GREY[48:80], *16 * [GREY[79:80]]]))]
    np.testing.assert_array_equal(decode(tiff(tags | {317: 1}, repeated)).pixels, GREY[:80])


def test_a_text_that_is_said_to_be_longer_than_it_is_is_no_damage() -> None:
    """Some writers give the bytes of IPTC's tag as a number of words."""
    data = grey_tiff(GREY, t33723=1)
    entry = data.index(struct.pack("<HHI", 33723, 4, 1))
    longer = data[:entry] + struct.pack("<HHII", 33723, 4, 60, 8) + data[entry + 12 :]
    np.testing.assert_array_equal(decode(longer).pixels, GREY)


@pytest.mark.parametrize("bit", range(16))
def test_a_strip_where_the_tags_are_is_damage(bit: int) -> None:
    data = grey_tiff(GREY)
    entry = data.index(struct.pack("<HHI", 273, 4, 1)) + 8
    (offset,) = struct.unpack_from("<I", data, entry)
    moved = data[:entry] + struct.pack("<I", offset ^ 1 << bit) + data[entry + 4 :]
    with pytest.raises(ImageError, match=r"where tags are|cut off"):
        decode(moved)
