"""What a structure check finds out, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from models.errors import ImageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Facts of an image that decide what decoding it costs and what its samples mean.

    Parameters
    ----------
    data
        The bytes for the decoder: those of the file, perhaps without parts that do not change its pixels.
    channels
        Samples for each pixel in the file, alpha included.
    bits
        Bits for each sample in the file.
    significant_bits
        Bits that the camera measured, where the file says so: PNG's sBIT, TIFF's MaxSampleValue.
    has_alpha
        The file has transparency.
    work_bytes
        Memory that the decoder takes besides the pixels it returns, in bytes.
    """

    data: bytes
    channels: int
    bits: int = 8
    significant_bits: int | None = None
    has_alpha: bool = False
    work_bytes: int = 0


def unreadable(reason: str) -> NoReturn:
    """Refuse an image with one line for a person.

    Raises
    ------
    ImageError
        Of kind ``unreadable-image``, always.
    """
    raise ImageError("unreadable-image", reason)
