"""Headers of a BMP, compared with the bytes of the file (BITMAPINFOHEADER and its older and newer forms)."""

from __future__ import annotations

import struct
from functools import partial

import numpy as np

from models.image_structure.base import Structure, is_padding, most_surplus, unreadable

_OS2_HEADER, _OS2_LONG_HEADER, _V5_HEADER = 12, 64, 124
#: Place of the masks of bit fields, and the masks that the decoder knows: red, green and blue, by bits of a pixel.
_MASKS_AT = 54
_MASKS = {
    16: ((0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)),
    32: ((0xFF0000, 0xFF00, 0xFF),),
}
_HEADERS = (_OS2_HEADER, 40, 52, 56, 64, 108, 124)
_RGB, _BITFIELDS = 0, 3
#: Compressions that are not decoded. Run lengths may leave out pixels, which the decoder fills in without a word.
_NAMES = {1: "run lengths (RLE8)", 2: "run lengths (RLE4)", 4: "JPEG", 5: "PNG", 6: "alpha bit fields"}
#: Bits for each pixel with each compression.
_BITS = {_RGB: (1, 4, 8, 16, 24, 32), _BITFIELDS: (16, 32)}


def examine_bmp(data: bytes) -> Structure:
    """Check the headers, the palette and the number of bytes of the pixels.

    Raises
    ------
    ImageError
        ``unreadable-image``: truncated, or a kind that is not decoded.
    """
    try:
        offset, size = struct.unpack_from("<II", data, 10)
        if size == _OS2_HEADER:
            width, height, planes, bits = struct.unpack_from("<HHHH", data, 18)
            compression, stated, colours = _RGB, 0, 0
        else:
            width, height, planes, bits, compression = struct.unpack_from("<iiHHI", data, 18)
            stated, _, _, colours = struct.unpack_from("<IiiI", data, 34)
    except struct.error:
        unreadable("the BMP is cut off within its header")
    if size not in _HEADERS or planes > 1:  # some cameras write 0 planes
        unreadable(f"the BMP's header is damaged: {size} bytes, {planes} planes")
    if compression in _NAMES:
        unreadable(f"{_NAMES[compression]} within a BMP is not supported; save as uncompressed BMP or as PNG")
    if bits not in _BITS.get(compression, ()):
        unreadable(f"the BMP's header is damaged: {bits} bits a pixel with compression {compression}")
    if compression == _BITFIELDS:
        _check_masks(data, size, bits)
    entry = 3 if size == _OS2_HEADER else 4
    most = 2**bits if bits <= 8 else 0
    if most and colours > most:
        unreadable(f"the BMP's header is damaged: a palette of {colours} colours for {bits} bits")
    palette = entry * (colours or most) if most else 0
    if not 14 + size + palette <= offset <= len(data):
        unreadable(f"the BMP is damaged: its pixels begin at byte {offset} of {len(data)}")
    rows, row_bytes = abs(height), -(-width * bits // 32) * 4
    wanted = row_bytes * rows
    if len(data) - offset < wanted:
        unreadable(f"the BMP is cut off: {len(data) - offset} bytes of pixels are there of {wanted}")
    there = _pixel_bytes(data, size, offset, wanted, stated)
    if there > wanted + most_surplus(row_bytes):
        unreadable(f"the BMP's header is damaged: {width}x{rows} pixels take {wanted} bytes, and it has {there}")
    is_short = bits in (4, 8) and 0 < colours < most
    return Structure(
        data=data,
        channels=4 if bits == 32 else 3 if bits > 8 or bits < 8 else 1,
        work_bytes=8 * width + (wanted if is_short else 0),
        finish=partial(_check_colours, data, offset, (rows, row_bytes), width, bits, colours) if is_short else None,
    )


def _pixel_bytes(data: bytes, size: int, offset: int, wanted: int, stated: int) -> int:
    """Return the bytes of the pixels as the header states them; if it does not, up to the end that it states.

    Numbers that contradict the file, as some writers leave them, say nothing; nor do equal bytes behind the pixels.
    """
    if 0 < stated <= len(data) - offset:
        return stated
    (end,) = struct.unpack_from("<I", data, 2)
    if size == _V5_HEADER:
        # A profile may lie behind the pixels.
        (profile,) = struct.unpack_from("<I", data, 14 + 112)
        end = 14 + profile if offset + wanted <= 14 + profile else end
    end = end if offset + wanted <= end <= len(data) else len(data)
    return wanted if end > offset + wanted and is_padding(data[offset + wanted : end]) else end - offset


def _check_masks(data: bytes, size: int, bits: int) -> None:
    """Refuse other bit fields than the usual ones: the decoder reads pixels of 32 bits without regard to them."""
    if size == _OS2_LONG_HEADER:
        unreadable("a BMP of OS/2 with Huffman codes is not supported; save as uncompressed BMP or as PNG")
    try:
        masks = struct.unpack_from("<III", data, _MASKS_AT)
    except struct.error:
        unreadable("the BMP is cut off within its header")
    if masks not in _MASKS[bits]:
        found = ", ".join(f"{mask:X}" for mask in masks)
        unreadable(f"a BMP with the bit fields {found} is not supported; save with 8 bits for each colour, or as PNG")


def _check_colours(
    data: bytes, offset: int, rows_and_bytes: tuple[int, int], width: int, bits: int, colours: int
) -> bytes:
    """Refuse pixels of colours that a short palette does not have: they would be black."""
    count, row_bytes = rows_and_bytes
    pixels = np.frombuffer(data, np.uint8, count * row_bytes, offset).reshape(rows_and_bytes)
    if bits == 8:
        largest = int(pixels[:, :width].max())
    else:
        largest = int((pixels[:, : -(-width // 2)] >> 4).max())
        if width > 1:
            largest = max(largest, int((pixels[:, : width // 2] & 15).max()))
    if largest >= colours:
        unreadable(f"the BMP is damaged: a pixel has the colour {largest} of a palette of {colours}")
    return data
