"""Result of a structure check, and its refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from models.errors import ImageError
from models.remarks import Remark


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Facts of an image that determine the cost of decoding and the meaning of its samples.

    Parameters
    ----------
    data
        The bytes of the file, perhaps without parts that do not change its pixels.
    finish
        Function with the checks that take memory or time, if there are any: call it once the cost is known to fit. It
        returns the bytes for the decoder instead of ``data``, or raises `ImageError`.
    channels
        Samples for each pixel in the file, alpha included.
    bits
        Bits for each sample in the file.
    significant_bits
        Bits that the camera measured, if the file names them: PNG's sBIT, TIFF's MaxSampleValue.
    has_alpha
        True if the file has transparency.
    work_bytes
        Memory that the decoder takes besides the pixels it returns, in bytes.
    remarks
        Remarks on unusual features of the file.
    """

    data: bytes
    channels: int
    bits: int = 8
    significant_bits: int | None = None
    has_alpha: bool = False
    work_bytes: int = 0
    finish: Callable[[], bytes] | None = None
    remarks: tuple[Remark, ...] = ()


#: Bytes beyond those that the rows of a picture need, which are ignored. More of them show that the header is damaged:
#: a flipped bit makes a picture narrower or lower, and its rows are then cut at wrong places.
SURPLUS_BYTES = 4096


def unreadable(reason: str) -> NoReturn:
    """Refuse an image with one line for a person.

    Raises
    ------
    ImageError
        Always of the kind ``unreadable-image``.
    """
    raise ImageError("unreadable-image", reason)
