"""Stated form of a camera's samples: depth, alignment in their words, window of values, Bayer pattern.

A camera of 10 or 12 bits writes words of 16 bits, with its samples in the lower or the upper bits. Nothing in a file of
such words states either, and a guess by content would treat a dark frame otherwise than a bright one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.opencv import cv2
from models.sample_depth import Image, to_8_bits

Alignment = Literal["low", "high"]
BayerPattern = Literal["RGGB", "BGGR", "GRBG", "GBRG"]
Window = tuple[int, int]

_WORD_BITS = 16
#: Pattern of the first two rows -> conversion of OpenCV. GenICam's BayerRG is RGGB.
_DEMOSAICING = {
    "RGGB": cv2.COLOR_BayerRGGB2BGR, "BGGR": cv2.COLOR_BayerBGGR2BGR,
    "GRBG": cv2.COLOR_BayerGRBG2BGR, "GBRG": cv2.COLOR_BayerGBRG2BGR,
}  # fmt: skip
#: Least side of a mosaic: a colour that a pixel lacks is that of its neighbours.
LEAST_MOSAIC = 3


@dataclass(frozen=True, slots=True)
class SampleFormat:
    """Form of the samples, as a manifest states it; see `models.input_spec.InputSpec`.

    Examples
    --------
    >>> SampleFormat(12, "low", (1000, 3000)).to_8_bits(np.array([0, 2000, 4095], np.uint16), 16, None)
    array([  0, 128, 255], dtype=uint8)
    """

    bit_depth: int | None = None
    alignment: Alignment | None = None
    window: Window | None = None
    bayer: BayerPattern | None = None

    @property
    def is_plain(self) -> bool:
        """True if no more than a depth is stated."""
        return self.alignment is None and self.window is None and self.bayer is None

    def stated(self) -> dict[str, object]:
        """Return the fields that are stated, as a manifest has them.

        Examples
        --------
        >>> SampleFormat(12, window=(0, 100)).stated()
        {'bit_depth': 12, 'window': [0, 100]}
        """
        fields = {"bit_depth": self.bit_depth, "alignment": self.alignment, "window": self.window, "bayer": self.bayer}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
            if value is not None
        }

    def to_8_bits(self, values: NDArray[np.integer], bits: int, significant_bits: int | None) -> Image:
        """Return samples as 8 bits: the window, or the upper 8 bits of the depth.

        Parameters
        ----------
        values
            Samples of a file, uint8 or uint16; of 10 to 14 bits packed, in the upper bits of words.
        bits, significant_bits
            Bits of the samples in the file, and those that the file states to be real.

        Raises
        ------
        ImageError
            ``depth-mismatch`` if the samples contradict the manifest.
        """
        if bits <= 8:
            if self.window is None:
                return np.asarray(values, np.uint8)
            if self.bit_depth is not None or self.window[1] > 255:
                raise _mismatch(f"states a window of {self.bit_depth or _WORD_BITS}-bit values, the image has 8 bits")
            return np.asarray(_table(8, 0, self.window)[values], np.uint8)
        in_file = bits if bits < _WORD_BITS else significant_bits
        if self.window is None and self.alignment is None:
            return to_8_bits(np.asarray(values, np.uint16), (in_file or self.bit_depth) if bits == _WORD_BITS else None)
        if in_file is not None and self.bit_depth not in (None, in_file):
            raise _mismatch(f"states {self.bit_depth} bits, the image {in_file}")
        depth = bits if bits < _WORD_BITS else self.bit_depth or _WORD_BITS
        words = np.asarray(values, np.uint16)
        is_low = bits == _WORD_BITS and self.alignment == "low"
        if is_low and int(words.max()) >> depth:
            raise _mismatch(
                f"states {depth} bits in the lower bits of a word, and a sample of the image is {int(words.max())}: "
                "state alignment: high, or the depth that the camera has"
            )
        return np.asarray(_table(depth, 0 if is_low else _WORD_BITS - depth, self.window)[words], np.uint8)

    def demosaic(self, mosaic: Image, colour: bool) -> Image:
        """Return the pixels of a mosaic ``(H, W)``: ``(H, W, 3)`` BGR, or ``(H, W)`` grey.

        Raises
        ------
        ImageError
            ``no-mosaic`` if it is too small.
        """
        if self.bayer is None:
            return mosaic
        if min(mosaic.shape) < LEAST_MOSAIC:
            raise no_mosaic("{1}x{0} pixels are too small for a Bayer pattern".format(*mosaic.shape))
        bgr = cv2.cvtColor(mosaic, _DEMOSAICING[self.bayer])
        return np.asarray(bgr if colour else cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), np.uint8)


#: Format of samples of which nothing is stated.
PLAIN = SampleFormat()


def as_captured(pixels: NDArray[np.integer], samples: SampleFormat) -> NDArray[np.integer]:
    """Return a made-up picture of 8 or 16 bits with samples of the stated form, for checks of a package.

    Examples
    --------
    >>> as_captured(np.array([255], np.uint8), SampleFormat(12, "low", (0, 4095)))
    array([4095], dtype=uint16)
    """
    if samples.window is None and samples.alignment is None:
        return pixels
    if samples.bit_depth is None and samples.window is not None and samples.window[1] < 256:
        return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    words = pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint16) * 257
    depth = samples.bit_depth or _WORD_BITS
    shifted = words >> (_WORD_BITS - depth)
    return shifted if samples.alignment == "low" else (shifted << (_WORD_BITS - depth)).astype(np.uint16)


def no_mosaic(reason: str) -> ImageError:
    """Return the error for an image that is not the raw mosaic which the manifest states."""
    return ImageError("no-mosaic", f"the manifest states a Bayer pattern: {reason}")


def _mismatch(reason: str) -> ImageError:
    return ImageError("depth-mismatch", f"the manifest {reason}")


def _table(depth: int, shift: int, window: Window | None) -> Image:
    """Return the 8-bit value of each word."""
    samples = np.arange(1 << (depth + shift)) >> shift
    if window is None:
        return (samples >> (depth - 8)).astype(np.uint8)
    low, high = window
    # In whole numbers, rounded half up: the same on every machine.
    scaled = (2 * 255 * (samples.clip(low, high) - low) + (high - low)) // (2 * (high - low))
    return scaled.astype(np.uint8)
