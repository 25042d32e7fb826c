"""Image bytes to pixels: the size is read first, and no more is decoded than the model needs.

Grey values are scaled by the file's bit depth, never by the content: a dark frame stays dark.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.opencv import MAX_IMAGE_PIXELS, cv2
from schemas.records import Encoding

Image = NDArray[np.uint8]

#: JPEG markers that start a frame and so carry its size: SOF0 to SOF15, without DHT, JPG and DAC among them.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: JPEG decodes to 1/8, 1/4 or 1/2 at a fraction of the cost: the inverse DCT does the scaling.
_REDUCED_GREY = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}
_REDUCED_COLOUR = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes say: encoding, width and height in pixels."""

    encoding: Encoding
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pixels, ``(H, W)`` or ``(H, W, 3)`` BGR uint8, and the header of the full image they are from."""

    pixels: Image
    header: Header


def image_header(data: bytes) -> Header:
    """Read encoding and size of a JPEG, PNG, BMP or TIFF image; nothing is decoded.

    Raises
    ------
    ImageError
        ``unreadable-image`` for anything else.

    Examples
    --------
    >>> image_header(bytes.fromhex("89504e470d0a1a0a0000000d49484452 00000280 000001e0"))
    Header(encoding=<Encoding.PNG: 'PNG'>, width=640, height=480)
    """
    try:
        if data[:3] == b"\xff\xd8\xff":
            header = Header(Encoding.JPEG, *_jpeg_size(data))
        elif data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
            header = Header(Encoding.PNG, *struct.unpack_from(">II", data, 16))
        elif data[:2] == b"BM":
            header = Header(Encoding.BMP, *_bmp_size(data))
        elif data[:4] in (b"II*\0", b"MM\0*"):
            header = Header(Encoding.TIFF, *_tiff_size(data))
        else:
            raise ImageError("unreadable-image", f"{len(data)} bytes that are neither JPEG, PNG, BMP nor TIFF")
    except (struct.error, IndexError) as error:
        raise ImageError("unreadable-image", f"ends within its header, after {len(data)} bytes") from error
    if header.width < 1 or header.height < 1:
        raise ImageError("unreadable-image", f"the {header.encoding} header says {header.width}x{header.height} pixels")
    return header


def _jpeg_size(data: bytes) -> tuple[int, int]:
    position = 2
    while True:
        if data[position] != 0xFF:
            raise ImageError("unreadable-image", f"no JPEG marker at byte {position}")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _SOF:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        elif marker in (0xD9, 0xDA):
            raise ImageError("unreadable-image", "JPEG data before its frame header")
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # stand-alone markers
            position += 2
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # a negative height means top row first


def _tiff_size(data: bytes) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    size = {256: 0, 257: 0}
    for index in range(entries):
        at = directory + 2 + 12 * index
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag in size and kind in (3, 4):
            (size[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)
    return size[256], size[257]


def decode(
    data: bytes,
    *,
    colour: bool = False,
    needed_wh: tuple[int, int] | None = None,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> Decoded:
    """Decode to 8-bit grey or BGR.

    Parameters
    ----------
    colour
        ``(H, W, 3)`` BGR instead of ``(H, W)`` grey.
    needed_wh
        Width and height that the caller resizes to. A JPEG is then decoded at 1/2, 1/4 or 1/8, the smallest
        that is not below it. Resized to ``needed_wh``, this differs from the full decode by about a grey level.
    max_pixels
        Larger images are refused from their header.

    The orientation that EXIF may claim is ignored: a camera of a line does not turn, and boxes are in sensor pixels.
    16-bit files keep their upper 8 bits; an alpha channel is dropped.

    Raises
    ------
    ImageError
        ``image-too-large`` or ``unreadable-image``.
    """
    header = image_header(data)
    width, height = header.width, header.height
    if width * height > max_pixels:
        raise ImageError("image-too-large", f"{width}x{height} pixels are over the limit of {max_pixels}")
    flags, divisor = (cv2.IMREAD_COLOR_BGR if colour else cv2.IMREAD_GRAYSCALE), 1
    if header.encoding is Encoding.JPEG and needed_wh is not None:
        for by, reduced in (_REDUCED_COLOUR if colour else _REDUCED_GREY).items():
            if width // by >= needed_wh[0] and height // by >= needed_wh[1]:
                flags, divisor = reduced, by
                break
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError("unreadable-image", f"{header.encoding} data that OpenCV refuses: {error.err}") from error
    if pixels is None:
        raise ImageError("unreadable-image", f"the {header.encoding} data is damaged or cut off")
    # Two readers of one header must agree, or the limit above was checked against the wrong number.
    if pixels.shape[:2] != (-(-height // divisor), -(-width // divisor)) or pixels.dtype != np.uint8:
        raise ImageError("unreadable-image", f"the {header.encoding} header says {width}x{height}, its data does not")
    return Decoded(pixels.astype(np.uint8, copy=False), header)
