"""Result of a structure check, and its refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

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
    is_read_as_words
        True if the decoder reads the samples, of 16 bits, rightly only if it is asked for words.
    is_inverted
        True if the sample 0 is white. The decoder inverts samples of 8 bits, but no words.
    work_bytes
        Memory that the decoder takes besides the pixels it returns, in bytes.
    padded_wh
        Width and height that ``data`` states, if they are larger than those of the picture: what lies beyond its right
        and lower edge is cut off. None: they are those of the picture.
    remarks
        Remarks on unusual features of the file.
    """

    data: bytes
    channels: int
    bits: int = 8
    significant_bits: int | None = None
    has_alpha: bool = False
    is_inverted: bool = False
    is_read_as_words: bool = False
    work_bytes: int = 0
    padded_wh: tuple[int, int] | None = None
    finish: Callable[[], bytes] | None = None
    remarks: tuple[Remark, ...] = ()


#: Most bytes beyond those that the rows of a picture need, which are ignored.
SURPLUS_BYTES = 4096
#: Most bytes of the first sample of a row, which a predictor keeps: four words.
_FIRST_SAMPLES = 8


def most_surplus(row_bytes: int) -> int:
    """Return the most bytes beyond the rows of a picture, or of a part of it, that are ignored: less than a row.

    More of them show that the header is damaged: a flipped bit makes a picture narrower or lower, and its rows are then
    cut at wrong places, or are missing.

    Examples
    --------
    >>> most_surplus(640), most_surplus(30_000)
    (639, 4096)
    """
    return min(SURPLUS_BYTES, row_bytes - 1)


def is_padding(
    rest: bytes | memoryview | NDArray[np.uint8], row_bytes: int = 0, rows: NDArray[np.uint8] | None = None
) -> bool:
    """Return True if the bytes behind the rows of a picture are padding. Real rows have noise.

    Padding is of equal bytes. With ``row_bytes``, its rows may be equal to each other, and each be of equal bytes but
    for its first ones, as a predictor leaves them, or be a copy of the last of the ``rows``.

    Examples
    --------
    >>> is_padding(bytes(9)), is_padding(b"abcabcabc"), is_padding(b"axxaxxaxx", 3, np.zeros(6, np.uint8))
    (True, False, True)
    """
    values = np.frombuffer(rest, np.uint8)
    if (values == values[0]).all():
        return True
    if not row_bytes or len(values) < row_bytes or rows is None:
        return False
    whole = values[: len(values) // row_bytes * row_bytes].reshape(-1, row_bytes)
    if (whole != whole[0]).any():
        return False
    behind = whole[0][min(_FIRST_SAMPLES, row_bytes - 1) :]
    return bool((behind == behind[0]).all() or np.array_equal(whole[0], rows[-row_bytes:]))


def unreadable(reason: str) -> NoReturn:
    """Refuse an image with one line for a person.

    Raises
    ------
    ImageError
        Always of the kind ``unreadable-image``.
    """
    raise ImageError("unreadable-image", reason)
