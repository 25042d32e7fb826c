"""A capture to the bytes that travel: JPEG, PNG, or as the camera encoded it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from models.image_header import ImageHeader, is_complete, read_header
from models.opencv import cv2
from producers.camera import Capture, Image
from schemas.errors import InspectionError
from schemas.records import Encoding

EncodeMode = Literal["as-is", "jpeg", "png"]

#: Level 1 of 9: for camera noise a higher level takes several times as long and saves a few percent.
_PNG_LEVEL = 1


class EncodingFailed(InspectionError):
    """OpenCV cannot encode these pixels (a JPEG has at most 65,535 a side)."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """Bytes with what the frame says of them: width and height in pixels, 0 if unreadable."""

    data: bytes
    encoding: Encoding
    width: int
    height: int


def encode_capture(capture: Capture, mode: EncodeMode = "as-is", quality: int = 95) -> EncodedImage:
    """Encode a capture for the topic.

    Parameters
    ----------
    capture
        Pixels, or bytes that the camera encoded.
    mode
        ``as-is`` leaves encoded bytes alone and makes JPEGs of pixels; ``jpeg`` and ``png`` turn everything into
        that format. Bytes already in it are never encoded again, nor are bytes that cannot be read, that
        were cut short or that 8 bits grey or colour cannot hold: re-encoding would hide what is wrong with them.
    quality
        Of JPEGs, 1 to 100.

    Raises
    ------
    EncodingFailed
        If the pixels cannot be encoded.

    Examples
    --------
    >>> made = encode_capture(Capture(image=np.zeros((4, 6), np.uint8)), "png")
    >>> made.encoding.value, made.width, made.height
    ('PNG', 6, 4)
    >>> encode_capture(Capture(encoded=b"scrap"), "jpeg")
    EncodedImage(data=b'scrap', encoding=<Encoding.OTHER: 'OTHER'>, width=0, height=0)
    """
    wanted = Encoding.PNG if mode == "png" else Encoding.JPEG
    if capture.image is not None:
        return _encode(capture.image, wanted, quality)
    data = cast(bytes, capture.encoded)
    header = read_header(data)
    if mode != "as-is" and header.encoding not in (wanted, Encoding.OTHER):
        image = _decode(data, header)
        if image is not None:
            return _encode(image, wanted, quality)
    return EncodedImage(data, header.encoding, header.width, header.height)


def _encode(image: Image, encoding: Encoding, quality: int) -> EncodedImage:
    if encoding is Encoding.PNG:
        suffix, parameters = ".png", [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
    else:
        suffix, parameters = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality]
    height, width = image.shape[:2]
    try:
        done, buffer = cv2.imencode(suffix, image, parameters)
    except cv2.error as error:
        raise EncodingFailed(f"cannot encode {width}x{height} pixels as {encoding}: {error.err}") from error
    if not done:
        raise EncodingFailed(f"cannot encode {width}x{height} pixels as {encoding}")
    return EncodedImage(buffer.tobytes(), encoding, width, height)


def _decode(data: bytes, header: ImageHeader) -> Image | None:
    if not is_complete(data, header.encoding):
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if image is None or image.dtype != np.uint8 or (image.ndim == 3 and image.shape[2] != 3):
        return None
    return cast(Image, image)
