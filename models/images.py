"""Image bytes to pixels: the size is read first, and no more is decoded than the model needs.

Grey values are scaled by the file's bit depth, never by the content: a dark frame stays dark.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.image_header import ImageHeader, read_header
from models.opencv import MAX_IMAGE_PIXELS, cv2
from schemas.records import Encoding

Image = NDArray[np.uint8]

#: JPEG decodes to 1/8, 1/4 or 1/2 at a fraction of the cost: the inverse DCT does the scaling.
_REDUCED_GREY = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}
_REDUCED_COLOUR = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pixels, ``(H, W)`` or ``(H, W, 3)`` BGR uint8, and the header of the full image they are from."""

    pixels: Image
    header: ImageHeader


def image_header(data: bytes, *, max_pixels: int = MAX_IMAGE_PIXELS) -> ImageHeader:
    """Read encoding and size of a JPEG, PNG, BMP or TIFF image; nothing is decoded.

    Raises
    ------
    ImageError
        ``unreadable-image`` for anything else, ``image-too-large`` above ``max_pixels``.

    Examples
    --------
    >>> image_header(bytes.fromhex("89504e470d0a1a0a0000000d49484452 00000280 000001e0"))
    ImageHeader(encoding=<Encoding.PNG: 'PNG'>, width=640, height=480)
    """
    header = read_header(data)
    if header.encoding is Encoding.OTHER:
        raise ImageError("unreadable-image", f"{len(data)} bytes that do not begin as a JPEG, PNG, BMP or TIFF image")
    if header.width * header.height > max_pixels:
        raise ImageError("image-too-large", f"{header.width}x{header.height} pixels are over the limit of {max_pixels}")
    return header


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
        that divides the size and is not below it. Resized to ``needed_wh`` this differs from the full decode
        by less than one grey level on average.
    max_pixels
        Larger images are refused from their header.

    The orientation that EXIF may claim is ignored: a camera of a line does not turn, and boxes are in sensor pixels.
    16-bit files keep their upper 8 bits; an alpha channel is dropped.

    Raises
    ------
    ImageError
        ``image-too-large`` or ``unreadable-image``.
    """
    header = image_header(data, max_pixels=max_pixels)
    width, height = header.width, header.height
    flags, divisor = (cv2.IMREAD_COLOR_BGR if colour else cv2.IMREAD_GRAYSCALE), 1
    if header.encoding is Encoding.JPEG and needed_wh is not None:
        for by, reduced in (_REDUCED_COLOUR if colour else _REDUCED_GREY).items():
            # Only where it divides: half a block at the border would shift the picture by up to a pixel.
            if width % by == height % by == 0 and width // by >= needed_wh[0] and height // by >= needed_wh[1]:
                flags, divisor = reduced, by
                break
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError("unreadable-image", f"{header.encoding} data that OpenCV refuses: {error.err}") from error
    if pixels is None:
        raise ImageError("unreadable-image", f"the {header.encoding} data is damaged or cut off")
    # Two readers of one header must agree, or the limit above was checked against the wrong number.
    if pixels.shape[:2] != (height // divisor, width // divisor) or pixels.dtype != np.uint8:
        raise ImageError("unreadable-image", f"the {header.encoding} header says {width}x{height}, its data does not")
    return Decoded(pixels.astype(np.uint8, copy=False), header)
