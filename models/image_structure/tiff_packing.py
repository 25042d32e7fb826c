"""Unpacked lengths of packed strips of a TIFF, without keeping their content.

OpenCV fills up a short strip of 8-bit samples, and reports it on standard error only: so the length is measured first.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

Packed = bytes | memoryview

_PIECE_BYTES = 1024 * 1024
_CLEAR, _END = 256, 257
_FIRST_ENTRY = 258
#: Width in bits of each code behind a clear code, and the bit behind it; a writer sends a clear code earlier.
_CODE_WIDTHS = np.repeat(np.array([9, 10, 11, 12], np.int32), (254, 512, 1024, 4096))
_CODE_ENDS = np.cumsum(_CODE_WIDTHS, dtype=np.int64)


def zlib_size(packed: Packed, wanted: int) -> int:
    """Return the unpacked length of a zlib stream, up to ``wanted``; 0 if it is damaged (its check sum included).

    Examples
    --------
    >>> zlib_size(zlib.compress(bytes(1000)), 1000), zlib_size(zlib.compress(bytes(10)), 1000)
    (1000, 10)
    """
    unpacker, size, rest = zlib.decompressobj(), 0, bytes(packed)
    try:
        while size <= wanted and not unpacker.eof:
            piece = unpacker.decompress(rest, min(_PIECE_BYTES, wanted - size + 1))
            size, rest = size + len(piece), unpacker.unconsumed_tail
            if not piece and not rest:
                break
    except zlib.error:
        return 0
    return size if unpacker.eof or size > wanted else min(size, wanted - 1)


def packbits_size(packed: Packed, wanted: int) -> int:
    """Return the unpacked length of PackBits runs (TIFF 6.0, section 9), up to ``wanted``; less if a run is truncated.

    Examples
    --------
    >>> packbits_size(bytes([254, 7, 1, 5, 6]), 5)
    5
    """
    size, at, data = 0, 0, bytes(packed)
    length = len(data)
    while at < length and size < wanted:
        header = data[at]
        if header < 128:
            at += 2 + header
            if at > length:
                break
            size += header + 1
        elif header > 128:
            at += 2
            if at > length:
                break
            size += 257 - header
        else:
            at += 1
    return size


def lzw_size(packed: Packed, wanted: int) -> int:
    """Return the unpacked length of LZW codes (TIFF 6.0, section 13), up to about ``wanted``; 0 if a code is invalid.

    The codes behind each clear code are read at once: their widths depend on their number alone.

    Examples
    --------
    >>> lzw_size(bytes.fromhex("80 01 02 02 02 04"), 1)  # a clear code and four bytes
    4
    """
    data = np.frombuffer(bytes(packed) + bytes(3), np.uint8)
    size, bit, total_bits = 0, 0, 8 * len(packed)
    if len(packed) < 2 or packed[0] != 0x80:
        return 0
    while size < wanted and bit + 9 <= total_bits:
        ends = _CODE_ENDS[: int(np.searchsorted(_CODE_ENDS, total_bits - bit, side="right"))] + bit
        widths = _CODE_WIDTHS[: len(ends)]
        at = ends - widths
        first = at >> 3
        words = (data[first].astype(np.int32) << 16) | (data[first + 1].astype(np.int32) << 8) | data[first + 2]
        codes = (words >> (24 - (at & 7) - widths)) & ((1 << widths) - 1)
        stops = np.flatnonzero((codes == _CLEAR) | (codes == _END))
        count = int(stops[0]) if len(stops) else len(codes)
        found = _lengths(codes[:count])
        if found is None:
            return 0
        size += found
        if not len(stops) or codes[count] == _END:
            break
        bit = int(ends[count])
    return size


def _lengths(codes: NDArray[np.int64]) -> int | None:
    """Return the total length of codes without a clear code; None if one refers to an entry that does not exist yet.

    Entry ``258 + k`` is the text of code ``k`` and one byte more. So the length of a code is the number of steps
    back to a single byte: all chains are followed at once, in steps that double.
    """
    count = len(codes)
    if not count:
        return 0
    is_entry = codes >= _FIRST_ENTRY
    before = np.where(is_entry, codes - _FIRST_ENTRY, 0)
    if (before[is_entry] >= np.arange(count)[is_entry]).any() or is_entry[0]:
        return None
    length = np.ones(count, np.int64)
    # The position behind the last code ends each chain, and adds nothing.
    following = np.append(np.where(is_entry, before, count), count)
    added = np.append(length, 0)
    while (following != count).any():
        added = added + added[following]
        following = following[following]
    return int(added[:count].sum())
