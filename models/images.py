"""Encoded bytes to pixels, no larger than the model needs, and safely."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.image_header import ImageHeader, is_complete, read_header
from models.opencv import MAX_IMAGE_PIXELS, cv2
from schemas.records import Encoding

Image = NDArray[np.uint8]

#: JPEG scales that the DCT gives for a fraction of the work, with OpenCV's flags for grey and colour.
_REDUCED = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2, cv2.IMREAD_REDUCED_COLOR_2),
)


def check_image(data: bytes) -> ImageHeader:
    """Read the header and refuse what must not reach the decoder.

    Raises
    ------
    ImageError
        ``unreadable-image`` or ``image-too-large``.
    """
    if not data:
        raise ImageError("unreadable-image", "the image is empty")
    header = read_header(data)
    if header.encoding is Encoding.OTHER:
        raise ImageError("unreadable-image", "not a JPEG, PNG, BMP or TIFF image")
    if header.width * header.height > MAX_IMAGE_PIXELS:
        raise ImageError(
            "image-too-large",
            f"{header.width}x{header.height} pixels, more than the {MAX_IMAGE_PIXELS // 10**6} megapixels allowed",
        )
    if not is_complete(data, header.encoding):
        # libjpeg fills what is missing with grey and says nothing.
        raise ImageError("unreadable-image", f"the {header.encoding} was cut short")
    return header


def decode_image(data: bytes, *, grey: bool, width: int, height: int) -> tuple[Image, ImageHeader]:
    """Decode for a model input of ``width`` x ``height`` pixels.

    A JPEG at least twice as large is decoded at 1/2, 1/4 or 1/8, never below the input's size. Orientation tags are
    ignored: a part lies as the camera saw it. 16-bit images are scaled by their type (x / 257), never by their content.

    Returns
    -------
    The image, uint8 ``(H, W)`` grey or ``(H, W, 3)`` BGR, and the header with the full size.

    Raises
    ------
    ImageError
        ``unreadable-image`` or ``image-too-large``.
    """
    header = check_image(data)
    flags = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
    if header.encoding is Encoding.JPEG:
        for factor, grey_flag, colour_flag in _REDUCED:
            if header.width // factor >= width and header.height // factor >= height:
                flags = grey_flag if grey else colour_flag
                break
    elif header.encoding in (Encoding.PNG, Encoding.TIFF):
        # Without ANYDEPTH OpenCV takes the high byte; with it the scaling below rounds, the same for each file.
        flags |= cv2.IMREAD_ANYDEPTH
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError("unreadable-image", f"the {header.encoding} cannot be decoded: {error.err}") from error
    if image is None:
        raise ImageError("unreadable-image", f"the {header.encoding} cannot be decoded")
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
    if image.dtype != np.uint8:
        raise ImageError("unreadable-image", f"pixels of type {image.dtype}: 8 or 16 bits are supported")
    return cast(Image, image), header
