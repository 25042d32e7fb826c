"""Conversion of 16-bit words to 8 bits by the depth of the camera: 10, 12 or 14 bits, in the upper or lower bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.remarks import Remark

#: Image of 8 bits: (height, width) or (height, width, channels).
Image = NDArray[np.uint8]
#: Depths that can be stated for a camera, in bits.
DEPTHS = range(9, 17)
_WORD_BITS = 16


def lies_low(values: NDArray[np.uint16], depth: int) -> bool:
    """Return True if samples of ``depth`` bits lie unscaled in the lower bits of their words.

    PNG scales samples up to the whole range, and sBIT states the number of real bits (ISO/IEC 15948, section 11.3.2.7).
    Cameras leave samples unscaled and state the same number. Scaled samples exceed the range of the depth, or, if
    all of them are dark, leave the bits below the depth empty.

    Examples
    --------
    >>> lies_low(np.array([0, 100, 4095], np.uint16), 12), lies_low(np.array([0, 1600, 65520], np.uint16), 12)
    (True, False)
    """
    if depth >= _WORD_BITS or int(values.max()) >> depth:
        return False
    below = (1 << (_WORD_BITS - depth)) - 1
    return bool((values & below).any()) or int(values.min()) == int(values.max())


def contradicts(values: NDArray[np.uint16], depth: int) -> bool:
    """Return True if samples neither lie in the lower bits of their words nor are scaled up from ``depth`` bits.

    Examples
    --------
    >>> contradicts(np.array([5, 4096], np.uint16), 12), contradicts(np.array([16, 4096], np.uint16), 12)
    (True, False)
    """
    below = (1 << (_WORD_BITS - depth)) - 1
    return bool(int(values.max()) >> depth and (values & below).any())


def to_8_bits(values: NDArray[np.uint16], depth: int | None) -> Image:
    """Return the upper 8 of the bits that the camera measured; without a ``depth``, the upper 8 of the whole word.

    Examples
    --------
    >>> to_8_bits(np.array([0, 2048, 4095], np.uint16), 12)
    array([  0, 128, 255], dtype=uint8)
    """
    shift = depth - 8 if depth is not None and lies_low(values, depth) else 8
    return (values >> shift).astype(np.uint8)


def scaled_up(values: NDArray[np.uint16], depth: int) -> NDArray[np.uint16]:
    """Return the samples scaled to the upper bits of their words, as in PNG; unchanged if they are scaled already."""
    return (values << (_WORD_BITS - depth)).astype(np.uint16) if lies_low(values, depth) else values


def darkness(pixels: NDArray[Any], depth: int | None = None) -> tuple[Remark, ...]:
    """Return a remark if the pixels of a 16-bit image, at 8 bits, stay below 1/8 of the range.

    Parameters
    ----------
    depth
        Stated depth, if the samples contradict it.
    """
    brightest = int(pixels.max())
    if brightest >= 256 // 8:
        return ()
    most = (brightest + 1) * 256
    if depth is None:
        text = (
            f"its 16-bit samples stay below {most} of 65535: state --bit-depth 12 if the camera has 12 bits, or 10 or "
            "14, to `inspection train`, `model init` or `produce`; in a manifest it is bit_depth of the input"
        )
    else:
        text = (
            f"its 16-bit samples stay below {most} of 65535, and do not fit the {depth} bits that the file, the camera "
            "or the manifest states: state the depth that the camera has"
        )
    return (Remark("low-16-bit", text),)
