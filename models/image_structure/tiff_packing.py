"""Packed strips of a TIFF, checked to hold all the bytes that their rows need.

OpenCV fills the missing bytes of a strip of 8-bit samples, and reports this on standard error alone. So the strips are
checked before.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from models.image_structure.base import is_padding, most_surplus, unreadable
from models.image_structure.tiff_tags import little_endian
from models.opencv import cv2

LZW, PACKBITS = 5, 32773
_PIECE_BYTES = 1024 * 1024
#: Approximate number of bytes that are unpacked at once to check LZW and PackBits; a single strip may take more.
GROUP_BYTES = 8 * 1024 * 1024
#: OpenCV's limit on each side of a picture.
_MAX_SIDE = 2**20
#: Bits of the samples of more than 8 bits that OpenCV reads strictly, with a number of whole bytes and the number of
#: samples in these bytes.
_SAMPLES = ((16, 2, 1), (12, 3, 2), (10, 5, 4))
#: Number of strips that are checked for surplus rows, spread over the picture: a size that is damaged affects them all.
_SURPLUS_CHECKED = 64


@dataclass(frozen=True, slots=True)
class Strip:
    """Strip or tile as it is in the file, and its required content: rows, and bytes of each row."""

    number: int
    packed: memoryview
    rows: int
    row_bytes: int

    @property
    def wanted(self) -> int:
        """Number of unpacked bytes that the strip must contain."""
        return self.rows * self.row_bytes


def zlib_size(packed: bytes | memoryview, wanted: int, most: int | None = None) -> int:
    """Return the unpacked length of a zlib stream, up to ``most``; 0 if it is damaged (its check sum included).

    A stream without an end counts as short by one byte at least.

    Parameters
    ----------
    most
        The length is counted up to one byte more than this. Default: ``wanted``.

    Examples
    --------
    >>> zlib_size(zlib.compress(bytes(1000)), 1000), zlib_size(zlib.compress(bytes(10)), 1000)
    (1000, 10)
    """
    most = wanted if most is None else most
    unpacker, size, rest = zlib.decompressobj(), 0, packed
    try:
        while size <= most and not unpacker.eof:
            piece = unpacker.decompress(rest, min(_PIECE_BYTES, most - size + 1))
            size, rest = size + len(piece), unpacker.unconsumed_tail
            if not piece and not rest:
                break
    except zlib.error:
        return 0
    return size if unpacker.eof or size > most else min(size, wanted - 1)


def zlib_is_padded(strip: Strip, whole: int) -> bool:
    """Return True if a strip of Deflate has as many bytes as a whole strip, and those beyond its rows are padding."""
    if zlib_size(strip.packed, whole, whole) != whole:
        return False
    unpacked = np.frombuffer(zlib.decompress(strip.packed, bufsize=whole), np.uint8)
    return is_padding(unpacked[strip.wanted :], strip.row_bytes, unpacked[: strip.wanted])


def check_strips(strips: Sequence[Strip], compression: int, whole: int) -> None:
    """Unpack strips of LZW or PackBits (TIFF 6.0, sections 13 and 9), and refuse a strip that is damaged or short.

    OpenCV refuses a short strip of samples of more than 8 bits. So OpenCV gets the strips as such samples, with the
    same number of bytes. If no number of such samples has a strip's number of bytes, its last byte is not checked.

    Strips that hold more than their rows, see `most_surplus`, are refused too: the picture's size is damaged.

    Parameters
    ----------
    whole
        Number of bytes of a whole strip, which the last one may hold if those beyond its rows are padding.

    Raises
    ------
    ImageError
        ``unreadable-image``.
    """
    for group in _groups(strips):
        if group[0].wanted > 1 and not _unpacks(group, compression):
            first, last = group[0].number, group[-1].number
            which = f"{first}" if first == last else f"{first}, or one up to {last},"
            unreadable(f"the TIFF is damaged: strip or tile {which} does not hold {group[0].wanted} bytes")
    for strip in (*strips[: -1 : max(1, len(strips) // _SURPLUS_CHECKED)], strips[-1]):
        most = strip.wanted + most_surplus(strip.row_bytes)
        if _holds(strip.packed, most + 1, compression) and not _is_padded(strip, whole, compression):
            unreadable(
                f"the TIFF is damaged: strip or tile {strip.number} holds more than {most} bytes of {strip.wanted}"
            )


def _is_padded(strip: Strip, whole: int, compression: int) -> bool:
    """Return True if a strip has no more bytes than a whole one, and those beyond its rows are padding."""
    if strip.wanted == whole or _holds(strip.packed, whole + most_surplus(strip.row_bytes) + 1, compression):
        return False
    rows = whole // strip.row_bytes
    # As words: in rows of two, if a row has an odd number of bytes.
    pairs = (strip.row_bytes // 2, rows) if strip.row_bytes % 2 == 0 else (strip.row_bytes, rows // 2)
    unpacked = _decoded([strip.packed], (16, *pairs), compression)
    if unpacked is None or unpacked.nbytes <= strip.wanted:
        return False
    values = unpacked.view(np.uint8).ravel()
    return is_padding(values[strip.wanted :], strip.row_bytes, values[: strip.wanted])


def _groups(strips: Sequence[Strip]) -> Iterator[list[Strip]]:
    """Yield groups of consecutive strips of one size, each of about `GROUP_BYTES`."""
    for (rows, row_bytes), each in groupby(strips, lambda strip: (strip.rows, strip.row_bytes)):
        same = list(each)
        most = max(1, min(GROUP_BYTES // (rows * row_bytes), _MAX_SIDE // max(rows, 15)))
        for begin in range(0, len(same), most):
            yield same[begin : begin + most]


def _unpacks(group: Sequence[Strip], compression: int) -> bool:
    shape = _as_samples(group[0].rows, group[0].row_bytes)
    return _is_decoded([each.packed for each in group], shape, compression)


def _holds(packed: memoryview, least: int, compression: int) -> bool:
    """Return True if a strip unpacks to this number of bytes, or a few more."""
    high = -(-least // _MAX_SIDE)
    return _is_decoded([packed], (16, -(-least // (2 * high)), high), compression)


def _is_decoded(packed: Sequence[memoryview], shape: tuple[int, int, int], compression: int) -> bool:
    return _decoded(packed, shape, compression) is not None


def _decoded(packed: Sequence[memoryview], shape: tuple[int, int, int], compression: int) -> NDArray[np.uint16] | None:
    """Return the samples of strips, if OpenCV reads them all.

    Parameters
    ----------
    shape
        Bits of a sample, samples of a row, and rows of a strip.
    """
    bits, width, rows = shape
    file = little_endian(
        {256: width, 257: rows * len(packed), 258: bits, 259: compression, 262: 1, 277: 1, 278: rows}, packed
    )
    try:
        found = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
        return None if found is None else np.asarray(found, np.uint16)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error.err)) from error
        return None


def _as_samples(rows: int, row_bytes: int) -> tuple[int, int, int]:
    """Return bits of a sample, samples of a row, and rows that take the same number of bytes, or one byte less."""
    for high, wide in ((rows, row_bytes), (row_bytes, rows), (1, rows * row_bytes)):
        for bits, whole, samples in _SAMPLES:
            # Two or more bytes that are left over hold one sample fewer than their number.
            over = wide % whole
            width = wide // whole * samples + max(0, over - 1)
            if over != 1 and 0 < width <= _MAX_SIDE and high <= _MAX_SIDE:
                return bits, width, high
    total = max(2, rows * row_bytes - 1)
    high = 15 if total % 30 == 0 else 1
    return 16, total // 2 // high, high
