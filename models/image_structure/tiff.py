"""Tags, strips and tiles of a TIFF, compared with the bytes of the file (TIFF 6.0 and its technical notes)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.image_structure import tiff_tags as tag
from models.image_structure.base import Structure, is_padding, most_surplus, unreadable
from models.image_structure.tiff_packing import (
    GROUP_BYTES,
    LZW,
    PACKBITS,
    Strip,
    check_strips,
    zlib_is_padded,
    zlib_size,
)
from models.image_structure.tiff_tags import Tags, directory_bytes, first_directory, upright, with_numbers

_NONE = 1
_DEFLATE = (8, 32946)
_COMPRESSIONS = {
    2: "CCITT", 3: "CCITT fax", 4: "CCITT fax", 6: "old JPEG", 7: "JPEG", 34712: "JPEG 2000", 34887: "LERC",
    34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 34676: "SGI LogLuv", 34677: "SGI LogLuv", 52546: "JPEG XL",
}  # fmt: skip
_WHITE, _BLACK, _RGB, _PALETTE, _CMYK = 0, 1, 2, 3, 5
_PHOTOMETRICS = {
    4: "a mask",
    6: "YCbCr",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "a raw colour filter",
}
_FORMATS = {2: "signed", 3: "float", 5: "complex", 6: "complex"}
#: Numbers of bits a sample that are decoded, by photometric interpretation.
_BITS = {_WHITE: (1, 8, 16), _BLACK: (1, 8, 10, 12, 14, 16), _RGB: (8, 16), _PALETTE: (4, 8), _CMYK: (8,)}
#: Samples of a pixel without the extra ones.
_COLOURS = {_WHITE: 1, _BLACK: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4}
_CONTIGUOUS, _SEPARATE = 1, 2
#: Kinds of extra samples: pixels that are multiplied by their alpha in the file, and pixels that are not.
_ASSOCIATED, _UNASSOCIATED = 1, 2
#: Bytes of which an uncompressed tile has a multiple: libtiff reads others as words only.
_TILE_BYTES = 1024
#: Bytes that the list of strips takes for each of them.
_STRIP_BYTES = 320
_CURE = "save as 8 or 16 bits"
#: Begin and end of parts of a file, in order.
_Parts = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Picture:
    """Size in pixels, samples of a pixel and bits of a sample."""

    width: int
    height: int
    samples: int
    bits: int
    photometric: int


def examine_tiff(data: bytes) -> Structure:
    """Check the tags, and that each strip or tile holds all bytes of its rows.

    Raises
    ------
    ImageError
        ``unreadable-image``: damaged or short, more than one picture, or a kind that is not decoded.
    """
    tags, pages = first_directory(data)
    if pages > 1:
        unreadable(f"the TIFF has {pages} pages; send one image a frame")
    picture = _picture(tags)
    planes = _planes(tags, picture)
    taken = directory_bytes(data)
    if _one(tags, tag.ORIENTATION, 1) != 1:
        data = upright(data)  # the decoder would turn or mirror the picture
    padded_wh = _padded(tags, picture)
    extra = tags.get(tag.EXTRA_SAMPLES, ())
    changes: dict[int, tuple[int, ...]] = (
        {} if padded_wh is None else {tag.WIDTH: padded_wh[:1], tag.HEIGHT: padded_wh[1:]}
    )
    if _UNASSOCIATED in extra:
        changes[tag.EXTRA_SAMPLES] = (_ASSOCIATED,) * len(extra)  # the decoder would multiply the pixels by it
    data = with_numbers(data, changes) if changes else data
    work_bytes, finish = _pieces(data, tags, picture, planes, taken)
    return Structure(
        data=data,
        padded_wh=padded_wh,
        channels=3 if picture.photometric == _PALETTE else picture.samples,
        bits=picture.bits,
        significant_bits=_significant(tags, picture.bits),
        is_inverted=picture.photometric == _WHITE,
        # Colours of 16 bits the decoder would round, where it cuts those of PNG, and grey ones.
        is_read_as_words=picture.bits == 16 and (picture.samples > 2 or _has_odd_tiles(tags, picture)),
        has_alpha=bool(extra) or picture.samples > _COLOURS[picture.photometric],
        work_bytes=work_bytes,
        finish=finish,
    )


def _one(tags: Tags, name: int, default: int) -> int:
    return tags.get(name, (default,))[0]


def _picture(tags: Tags) -> _Picture:
    """Return the kind of the samples; a kind that is not decoded is refused by its name."""
    width, height, samples = _one(tags, tag.WIDTH, 0), _one(tags, tag.HEIGHT, 0), _one(tags, tag.SAMPLES, 1)
    if width < 1 or height < 1:
        unreadable(f"the TIFF is damaged: a picture of {width}x{height} pixels")
    all_bits = set(tags.get(tag.BITS, (1,)))
    bits = max(all_bits)
    forms = set(tags.get(tag.SAMPLE_FORMAT, (1,)))
    for form in sorted(forms & _FORMATS.keys()):
        unreadable(f"TIFF: {bits}-bit {_FORMATS[form]} samples are not supported, {_CURE}")
    if len(all_bits) > 1:
        unreadable(f"TIFF samples of different depths are not supported, {_CURE}")
    photometric = _one(tags, tag.PHOTOMETRIC, _BLACK)
    if photometric not in _BITS:
        name = _PHOTOMETRICS.get(photometric, f"photometric interpretation {photometric}")
        unreadable(f"a TIFF of {name} is not supported; save as grey or RGB")
    if bits not in _BITS[photometric] or (bits in (1, 10, 12, 14) and samples > 1):
        kind = {_PALETTE: " palette", _CMYK: " CMYK"}.get(photometric, "")
        unreadable(f"{samples} sample(s) of {bits} bits ({kind.strip() or 'TIFF'}) are not supported, {_CURE}")
    if not _COLOURS[photometric] <= samples <= 4:
        unreadable(f"a TIFF of {samples} samples a pixel is not supported; save as grey or RGB")
    if photometric == _PALETTE and len(tags.get(tag.COLOUR_MAP, ())) != 3 * 2**bits:
        unreadable("the TIFF's palette is damaged")
    if _one(tags, tag.FILL_ORDER, 1) != 1:
        unreadable("a TIFF with reversed bits (FillOrder 2) is not supported; save with FillOrder 1")
    if _one(tags, tag.PREDICTOR, 1) not in (1, 2):
        unreadable("a TIFF with a predictor for float samples is not supported; save without a predictor")
    return _Picture(width, height, samples, bits, photometric)


def _planes(tags: Tags, picture: _Picture) -> int:
    planar = _one(tags, tag.PLANAR, _CONTIGUOUS)
    if planar not in (_CONTIGUOUS, _SEPARATE):
        unreadable(f"the TIFF is damaged: planar configuration {planar}")
    if planar == _SEPARATE and picture.samples > 1 and picture.bits != 8:
        unreadable("16-bit TIFF samples in separate planes are not supported; save with interleaved samples")
    return picture.samples if planar == _SEPARATE else 1


def _padded(tags: Tags, picture: _Picture) -> tuple[int, int] | None:
    """Return the size that whole tiles have together, if it is not that of the picture.

    libtiff 4 scrambles tiles of 16 bits a pixel that hang over the right edge: grey of 16 bits, or of 8 with alpha.
    """
    wide, high = _one(tags, tag.TILE_WIDTH, 0), _one(tags, tag.TILE_HEIGHT, 0)
    if wide < 1 or high < 1:
        return None
    padded = -(-picture.width // wide) * wide, -(-picture.height // high) * high
    return None if padded == (picture.width, picture.height) else padded


def _has_odd_tiles(tags: Tags, picture: _Picture) -> bool:
    """Return True for uncompressed tiles that libtiff reads as words only."""
    wide, high = _one(tags, tag.TILE_WIDTH, 0), _one(tags, tag.TILE_HEIGHT, 0)
    return _one(tags, tag.COMPRESSION, _NONE) == _NONE and wide * high * picture.samples * 2 % _TILE_BYTES != 0


def _pieces(
    data: bytes, tags: Tags, picture: _Picture, planes: int, taken: _Parts
) -> tuple[int, Callable[[], bytes] | None]:
    """Check each strip or tile; return the bytes that decoding takes, and checks that unpack whole strips.

    Parameters
    ----------
    taken
        Parts of the file that hold its tags, see `directory_bytes`.
    """
    is_tiled = tag.TILE_WIDTH in tags or tag.TILE_OFFSETS in tags
    if is_tiled:
        wide, high = _one(tags, tag.TILE_WIDTH, 0), _one(tags, tag.TILE_HEIGHT, 0)
        offsets, sizes = tags.get(tag.TILE_OFFSETS, ()), tags.get(tag.TILE_SIZES, ())
        if wide < 1 or high < 1 or wide % 16 or high % 16:
            unreadable(f"the TIFF is damaged: tiles of {wide}x{high} pixels")
    else:
        wide, high = picture.width, min(_one(tags, tag.ROWS_PER_STRIP, picture.height), picture.height)
        offsets, sizes = tags.get(tag.STRIP_OFFSETS, ()), tags.get(tag.STRIP_SIZES, ())
        if high < 1:
            unreadable(f"the TIFF is damaged: strips of {high} rows")
    compression = _one(tags, tag.COMPRESSION, _NONE)
    if compression not in (_NONE, LZW, PACKBITS, *_DEFLATE):
        name = _COMPRESSIONS.get(compression, f"method {compression}")
        unreadable(f"a TIFF compressed with {name} is not supported; save with Deflate, LZW or no compression")
    down = -(-picture.height // high)
    count = -(-picture.width // wide) * down * planes
    if len(offsets) != count or (compression != _NONE and len(sizes) != count):
        unreadable(f"the TIFF is cut off: {min(len(offsets), len(sizes))} strips or tiles are there of {count}")
    row_bytes = -(-wide * picture.bits * (picture.samples // planes) // 8)
    # The decoder holds one piece as it is in the file, and once more as red, green, blue and alpha.
    work_bytes = high * row_bytes + (4 * wide * high if picture.bits <= 8 else 0)
    _check_cost(wide, high, work_bytes, picture)
    rows = [high if is_tiled else min(high, picture.height - (number % down) * high) for number in range(count)]
    whole = high * row_bytes
    if compression == _NONE:
        if is_tiled and picture.bits <= 8 and whole % _TILE_BYTES:
            unreadable(
                f"a TIFF of uncompressed tiles of {whole} bytes is not supported: save with tiles of a multiple of "
                f"{_TILE_BYTES} bytes, or compress them with Deflate or LZW"
            )
        wanted = [each * row_bytes for each in rows]
        _check_surplus(data, offsets, sizes, wanted, whole, row_bytes)
        return work_bytes, _plain(data, is_tiled, offsets, sizes, wanted, taken)
    strips = _packed(data, offsets, sizes, rows, row_bytes, taken)
    work_bytes += _STRIP_BYTES * count
    if compression in _DEFLATE:
        for strip in strips:
            most = strip.wanted + most_surplus(row_bytes)
            there = zlib_size(strip.packed, strip.wanted, most)
            if there > most and strip.wanted < whole and zlib_is_padded(strip, whole):
                continue
            if not strip.wanted <= there <= most:
                some = f"more than {most}" if there > most else there
                unreadable(f"the TIFF is damaged: strip or tile {strip.number} holds {some} bytes of {strip.wanted}")
        return work_bytes, None
    most = max(GROUP_BYTES, whole)
    return max(work_bytes, 3 * min(most, count * whole)), partial(_checked, data, strips, compression, whole)


def _checked(data: bytes, strips: list[Strip], compression: int, whole: int) -> bytes:
    check_strips(strips, compression, whole)
    return data


def _plain(
    data: bytes, is_tiled: bool, offsets: tuple[int, ...], sizes: tuple[int, ...], wanted: list[int], taken: _Parts
) -> Callable[[], bytes] | None:
    """Check uncompressed pieces: their sizes follow from the picture. Sizes in the file that are wrong are mended."""
    _check_places(data, offsets, wanted, taken)
    if len(sizes) == len(wanted) and all(
        needed <= size <= len(data) - offset for offset, size, needed in zip(offsets, sizes, wanted, strict=True)
    ):
        return None
    return partial(with_numbers, data, {tag.TILE_SIZES if is_tiled else tag.STRIP_SIZES: wanted})


def _check_places(data: bytes, offsets: Sequence[int], sizes: Sequence[int], taken: _Parts) -> None:
    """Refuse pieces that do not lie within the file, or lie where tags do: an offset is damaged."""
    begins = [begin for begin, _ in taken]
    for number, (begin, size) in enumerate(zip(offsets, sizes, strict=True)):
        end = begin + size
        if not 0 < begin < end <= len(data):
            unreadable(f"the TIFF is cut off: strip or tile {number} lies at bytes {begin} to {end} of {len(data)}")
        before = bisect_left(begins, end)
        if before and taken[before - 1][1] > begin:
            unreadable(f"the TIFF is damaged: strip or tile {number} lies at bytes {begin} to {end}, where tags are")


def _check_surplus(
    data: bytes, offsets: tuple[int, ...], sizes: tuple[int, ...], wanted: list[int], whole: int, row_bytes: int
) -> None:
    """Refuse strips that hold more than their rows: the picture's size is damaged.

    Sizes that contradict the file, as some writers leave them, say nothing.

    Parameters
    ----------
    wanted
        Bytes of the rows of each piece.
    whole
        Bytes of a whole piece, which the last one may be if its other rows are empty.
    """
    pieces = sorted(zip(offsets, sizes, strict=False))
    ends = [offset + size for offset, size in pieces]
    follow = [offset for offset, _ in pieces[1:]] + [len(data)]
    is_certain = len(sizes) == len(offsets) and all(end <= begin for end, begin in zip(ends, follow, strict=True))
    if not is_certain:
        return
    for offset, size, needed in zip(offsets, sizes, wanted, strict=True):
        if size > needed + most_surplus(row_bytes) and not (
            size <= whole + most_surplus(row_bytes)
            and is_padding(
                memoryview(data)[offset + needed : offset + size],
                row_bytes,
                np.frombuffer(data, np.uint8, needed, offset),
            )
        ):
            unreadable(f"the TIFF is damaged: a strip or tile of {size} bytes, and the rows of its size take {needed}")


def _packed(
    data: bytes, offsets: tuple[int, ...], sizes: tuple[int, ...], rows: list[int], row_bytes: int, taken: _Parts
) -> list[Strip]:
    view = memoryview(data)
    if sum(sizes) > len(data):
        unreadable(f"the TIFF is damaged: its strips or tiles claim {sum(sizes)} bytes of {len(data)} and overlap")
    _check_places(data, offsets, sizes, taken)
    return [
        Strip(number, view[offset : offset + size], high, row_bytes)
        for number, (offset, size, high) in enumerate(zip(offsets, sizes, rows, strict=True))
    ]


def _check_cost(wide: int, high: int, work_bytes: int, picture: _Picture) -> None:
    from models.image_limits import check_pixels, check_share

    if wide * high > picture.width * picture.height:
        check_pixels(wide, high, what="tile of ")
    check_share(work_bytes, f"a strip or tile of {wide}x{high} pixels")


def _significant(tags: Tags, bits: int) -> int | None:
    """Return the depth that MaxSampleValue states: 4095 is 12 bits. Other values are statistics and are not used."""
    most = max((each for name in (tag.MAX_SAMPLE, tag.S_MAX_SAMPLE) for each in tags.get(name, ())), default=0)
    depth = most.bit_length()
    return depth if bits == 16 and 8 <= depth < 16 and most == 2**depth - 1 else None
