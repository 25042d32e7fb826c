"""Format and size of an encoded image from its first bytes; `models.image_structure` checks the rest.

Follows PNG (ISO/IEC 15948) section 11.2.2, JPEG (ITU-T T.81) annex B, the BITMAPINFOHEADER of BMP and TIFF 6.0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from models.jpeg_markers import next_marker
from schemas.records import Encoding

_PNG_START = b"\x89PNG\r\n\x1a\n"
#: JPEG markers that start a frame and so contain the size: SOF0-15 without DHT, JPG and DAC.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Most segments or tags to read, more than any camera writes: reading a forged file must end.
_MAX_ENTRIES = 512
#: Largest width or height in pixels: both are Avro ints in the frame.
_MAX_SIDE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Format and size from the first bytes of an image: width and height in pixels, 0 if unknown."""

    encoding: Encoding
    width: int
    height: int


UNREADABLE = ImageHeader(Encoding.OTHER, 0, 0)


def read_header(data: bytes) -> ImageHeader:
    """Read format and size of an image; return `UNREADABLE` if they cannot be read.

    Examples
    --------
    >>> read_header(b"BM" + bytes(12) + bytes([40, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0]))
    ImageHeader(encoding=<Encoding.BMP: 'BMP'>, width=4, height=3)
    >>> read_header(b"not an image") == UNREADABLE
    True
    """
    try:
        if data.startswith(_PNG_START) and data[12:16] == b"IHDR":
            return _header(Encoding.PNG, *struct.unpack_from(">II", data, 16))
        if data.startswith(b"\xff\xd8"):
            return _header(Encoding.JPEG, *_jpeg_size(data))
        if data.startswith(b"BM"):
            return _header(Encoding.BMP, *_bmp_size(data))
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _header(Encoding.TIFF, *_tiff_size(data))
    except (struct.error, ValueError):
        return UNREADABLE
    return UNREADABLE


def _header(encoding: Encoding, width: int, height: int) -> ImageHeader:
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise ValueError("no such size")
    return ImageHeader(encoding, width, height)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    position = 2
    for _ in range(_MAX_ENTRIES):
        position = next_marker(data, position) - 1
        marker, length = struct.unpack_from(">BH", data, position + 1)
        if marker in _SOF:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        position += 2 + length
    raise ValueError("no frame header")


def _bmp_size(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the OS/2 header has 16-bit sides
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # a negative height means rows from top to bottom


def _tiff_size(data: bytes) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    sides: dict[int, int] = {}
    for index in range(min(count, _MAX_ENTRIES)):
        at = directory + 2 + 12 * index
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag in (256, 257):
            sides[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)[0]
    return sides.get(256, 0), sides.get(257, 0)
