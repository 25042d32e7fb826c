"""Headers of a BMP, compared with the bytes of the file (BITMAPINFOHEADER and its older and newer forms)."""

from __future__ import annotations

import struct

from models.image_structure.base import Structure, unreadable

_OS2_HEADER = 12
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
            compression, colours = _RGB, 0
        else:
            width, height, planes, bits, compression = struct.unpack_from("<iiHHI", data, 18)
            (colours,) = struct.unpack_from("<I", data, 46)
    except struct.error:
        unreadable("the BMP is cut off within its header")
    if size not in _HEADERS or planes > 1:  # some cameras write 0 planes
        unreadable(f"the BMP's header is damaged: {size} bytes, {planes} planes")
    if compression in _NAMES:
        unreadable(f"{_NAMES[compression]} within a BMP is not supported; save as uncompressed BMP or as PNG")
    if bits not in _BITS.get(compression, ()):
        unreadable(f"the BMP's header is damaged: {bits} bits a pixel with compression {compression}")
    entry = 3 if size == _OS2_HEADER else 4
    most = 2**bits if bits <= 8 else 0
    if most and colours > most:
        unreadable(f"the BMP's header is damaged: a palette of {colours} colours for {bits} bits")
    palette = entry * (colours or most) if most else 0
    if not 14 + size + palette <= offset <= len(data):
        unreadable(f"the BMP is damaged: its pixels begin at byte {offset} of {len(data)}")
    rows = abs(height)
    wanted = -(-width * bits // 32) * 4 * rows
    if len(data) - offset < wanted:
        unreadable(f"the BMP is cut off: {len(data) - offset} bytes of pixels are there of {wanted}")
    return Structure(data=data, channels=4 if bits == 32 else 3 if bits > 8 or bits < 8 else 1, work_bytes=8 * width)
