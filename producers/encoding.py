"""Encoding of a capture for its message: JPEG, PNG, or as the camera encoded it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.image_header import read_header
from models.images import decode_whole
from models.opencv import cv2
from models.sample_depth import scaled_up, to_8_bits
from producers.camera import Capture
from schemas.errors import InspectionError
from schemas.records import Encoding

EncodeMode = Literal["as-is", "jpeg", "png"]

#: Level 1 of 9. For camera noise a higher level takes several times as long and saves only a few percent.
_PNG_LEVEL = 1
#: Position of a chunk that follows the header of a PNG: behind the signature and IHDR.
_BEHIND_HEADER = 8 + 12 + 13


class EncodingFailed(InspectionError):
    """Pixels that OpenCV cannot encode (a JPEG has at most 65,535 pixels on each side)."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """Encoded bytes, with their fields of the frame: encoding, width and height in pixels, 0 if unreadable."""

    data: bytes
    encoding: Encoding
    width: int
    height: int


def encode_capture(
    capture: Capture, mode: EncodeMode = "as-is", quality: int = 95, bit_depth: int | None = None
) -> EncodedImage:
    """Encode a capture for the topic.

    Parameters
    ----------
    capture
        Pixels, or bytes that the camera encoded.
    mode
        ``as-is`` keeps encoded bytes, and encodes 8-bit pixels as JPEG and 16-bit pixels as PNG. ``jpeg`` and ``png``
        convert all captures to that format. Bytes that already have the format are never encoded again. Neither are
        bytes that are unreadable, are damaged or have transparency: re-encoding would hide the fault. 16-bit images
        become JPEGs only if ``bit_depth`` states which of their bits count.
    quality
        Quality of JPEGs, 1 to 100.
    bit_depth
        Bits that the camera measures, 9 to 16. 16-bit images, pixels or files, are then published as PNG, with their
        samples scaled up to the whole range and the depth in the chunk sBIT (ISO/IEC 15948, section 11.3.2.7).

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
    if capture.image is not None:
        return _encode(capture.image, mode, quality, bit_depth)
    data = cast(bytes, capture.encoded)
    header = read_header(data)
    wanted = {"png": Encoding.PNG, "jpeg": Encoding.JPEG}.get(mode, header.encoding)
    may_be_deep = bit_depth is not None and header.encoding in (Encoding.PNG, Encoding.TIFF)
    if header.encoding is not Encoding.OTHER and (header.encoding is not wanted or may_be_deep):
        image = _decode(data)
        is_deep = image is not None and image.dtype == np.uint16
        if image is not None and (bit_depth is not None if is_deep else header.encoding is not wanted):
            return _encode(image, mode, quality, bit_depth)
    return EncodedImage(data, header.encoding, header.width, header.height)


def _encode(image: NDArray[Any], mode: EncodeMode, quality: int, bit_depth: int | None) -> EncodedImage:
    encoding = Encoding.PNG if mode == "png" else Encoding.JPEG
    if image.dtype == np.uint16:
        if mode == "jpeg" and bit_depth is not None:
            image = to_8_bits(image, bit_depth)
        else:
            encoding = Encoding.PNG
            image = image if bit_depth is None else scaled_up(image, bit_depth)
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
    data = buffer.tobytes()
    if image.dtype == np.uint16 and bit_depth is not None:
        data = _with_depth(data, bit_depth, 1 if image.ndim == 2 else 3)
    return EncodedImage(data, encoding, width, height)


def _with_depth(png: bytes, bit_depth: int, channels: int) -> bytes:
    """Return the PNG with a chunk sBIT."""
    body = b"sBIT" + bytes([bit_depth] * channels)
    chunk = struct.pack(">I", channels) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_BEHIND_HEADER] + chunk + png[_BEHIND_HEADER:]


def _decode(data: bytes) -> NDArray[Any] | None:
    try:
        return decode_whole(data)
    except ImageError:
        return None
