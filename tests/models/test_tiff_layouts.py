"""TIFF: strips, tiles and planes of all kinds of samples have the pixels of the file, computed here by NumPy."""

from __future__ import annotations

import zlib
from itertools import product

import cv2
import numpy as np
import pytest

from models import ImageError
from models.images import decode, decode_whole, decoding
from models.input_spec import SampleFormat
from tests.support.image_files import tiff

#: No whole number of tiles or strips.
WIDE, HIGH = 150, 97
WHITE, BLACK, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
#: Photometric interpretation and samples of a pixel.
KINDS = {
    "white is 0": (WHITE, 1), "black is 0": (BLACK, 1), "grey and alpha": (BLACK, 2), "rgb": (RGB, 3),
    "rgb and alpha": (RGB, 4), "palette": (PALETTE, 1), "cmyk": (CMYK, 4),
}  # fmt: skip
#: Share of the index that is red, green and blue in the palette.
RAMPS = (1.0, 0.5, 0.25)
GREY_OF_RGB = (0.299, 0.587, 0.114)
UNASSOCIATED = 2


def samples_of(count: int, bits: int) -> np.ndarray:
    """Return ``(HIGH, WIDE, count)`` samples that differ everywhere."""
    y, x = np.mgrid[:HIGH, :WIDE]
    planes = [120 + 60 * np.sin(x / (9 + each)) + 50 * np.cos(y / 7 + each) for each in range(count)]
    values = np.stack(planes, axis=2).astype(np.uint8)
    return values if bits == 8 else values.astype(np.uint16) << 8 | values[::-1]


def laid_out(
    samples: np.ndarray, photometric: int, tile: int, *, planar: bool = False, packed: bool = False, alpha: int = 0
) -> bytes:
    """Return a TIFF of samples in tiles of a side, or with 0 in strips of 20 rows."""
    count, pieces = samples.shape[2], []
    for plane in [samples[:, :, each : each + 1] for each in range(count)] if planar else [samples]:
        if tile:
            high, wide = (-(-side // tile) * tile for side in plane.shape[:2])
            padded = np.full((high, wide, plane.shape[2]), 255, samples.dtype)
            padded[:HIGH, :WIDE] = plane
            pieces += [padded[y : y + tile, x : x + tile] for y in range(0, high, tile) for x in range(0, wide, tile)]
        else:
            pieces += [plane[y : y + 20] for y in range(0, HIGH, 20)]
    bits = 8 * samples.dtype.itemsize
    tags: dict[int, int | list[int]] = {256: WIDE, 257: HIGH, 258: [bits] * count, 262: photometric, 277: count}
    tags |= {259: 8 if packed else 1, 284: 2 if planar else 1} | ({322: tile, 323: tile} if tile else {278: 20})
    if photometric == PALETTE:
        tags[320] = [int(257 * each * ramp) for ramp in RAMPS for each in range(256)]
    if alpha:
        tags[338] = alpha
    data = [np.ascontiguousarray(each).tobytes() for each in pieces]
    return tiff(tags, [zlib.compress(each) for each in data] if packed else data, is_tiled=bool(tile))


def expected(samples: np.ndarray, photometric: int, *, colour: bool) -> np.ndarray:
    """Return grey or BGR pixels, float."""
    values = (samples >> 8 if samples.dtype == np.uint16 else samples).astype(float)
    if photometric in (WHITE, BLACK):
        red_green_blue = np.repeat(values[:, :, :1] if photometric == BLACK else 255 - values, 3, axis=2)
    elif photometric == RGB:
        red_green_blue = values[:, :, :3]
    elif photometric == PALETTE:
        red_green_blue = np.concatenate([values * ramp for ramp in RAMPS], axis=2)
    else:
        red_green_blue = (255 - values[:, :, :3]) * (255 - values[:, :, 3:]) / 255
    return red_green_blue[:, :, ::-1] if colour else red_green_blue @ GREY_OF_RGB


@pytest.mark.parametrize("tile", [0, 32, 48, 64, 128, 256])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_of_the_file(kind: str, bits: int, tile: int) -> None:
    photometric, count = KINDS[kind]
    if bits == 16 and photometric in (PALETTE, CMYK):
        pytest.skip("refused, by its name")
    samples, has_alpha = samples_of(count, bits), "alpha" in kind
    if has_alpha:
        samples[:, :, -1] = 10 << (bits - 8)
    for planar, packed, alpha in product(
        (False, True) if count > 1 and bits == 8 else (False,), (False, True), (0, 1, 2) if has_alpha else (0,)
    ):
        if tile == 48 and bits == 8 and not packed:
            continue  # refused, by its size
        data = laid_out(samples, photometric, tile, planar=planar, packed=packed, alpha=alpha)
        for colour in (False, True):
            found = decode(data, colour=colour)
            wanted = expected(samples, photometric, colour=colour)
            assert np.abs(found.pixels - wanted).max() < 2.5, (planar, packed, alpha, colour)
            assert [each.kind for each in found.remarks] == ["transparency"] * has_alpha
        if not has_alpha:
            whole, colour = decode_whole(data), count > 1 or photometric == PALETTE
            whole = whole >> 8 if whole.dtype == np.uint16 else whole
            assert np.abs(whole - expected(samples, photometric, colour=colour)).max() < 2.5
        if bits == 16 and not has_alpha:
            with decoding(data, samples=SampleFormat(bit_depth=16, alignment="high")) as stated:
                wanted = expected(samples, photometric, colour=False)
                assert np.abs(stated.pixels - wanted).max() < 2.5


@pytest.mark.parametrize("kind", ["grey", "colour", "colour and alpha"])
def test_words_are_cut_to_8_bits_as_those_of_a_png(kind: str) -> None:
    """A camera that changes from PNG to TIFF changes no score."""
    count = {"grey": 1, "colour": 3, "colour and alpha": 4}[kind]
    samples = np.random.default_rng(1).integers(0, 65536, (HIGH, WIDE, count), dtype=np.uint16)
    samples[:, :, 3:] = 65535
    alpha = {"alpha": 2} if count == 4 else {}
    data = laid_out(samples, BLACK if count == 1 else RGB, 0, **alpha)
    png = cv2.imencode(".png", samples[:, :, :3][:, :, ::-1])[1].tobytes()
    found = decode(data, colour=True).pixels
    assert np.array_equal(found, decode(png, colour=True).pixels)
    assert np.array_equal(found[:, :, ::-1], np.broadcast_to(samples[:, :, :3] >> 8, found.shape))


def test_words_of_few_bits_with_0_for_white_are_refused() -> None:
    data = laid_out(samples_of(1, 16) >> 4, WHITE, 0)
    with pytest.raises(ImageError, match="its words of 12 bits have 0 for white; save with 0 for black"):
        decode(data, bit_depth=12)


@pytest.mark.parametrize(("tile", "size"), [(16, 256), (48, 2304)])
def test_tiles_that_opencv_does_not_read_are_refused_by_name(tile: int, size: int) -> None:
    with pytest.raises(ImageError, match=f"tiles of {size} bytes is not supported: save with tiles of a multiple of"):
        decode(laid_out(samples_of(1, 8), BLACK, tile))
    assert decode(laid_out(samples_of(1, 8), BLACK, tile, packed=True)).pixels.shape == (HIGH, WIDE)
