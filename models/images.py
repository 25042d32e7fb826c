"""Decoding of images. All bytes are checked before decoding, and no more is decoded than the model needs.

Grey values are scaled by the bit depth of the file, never by the content: a dark frame stays dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from models.errors import ImageError
from models.image_header import ImageHeader, read_header
from models.image_limits import BUDGET, LIMITS, check_pixels
from models.image_structure import Structure, examine
from models.image_structure.jpeg import without_padding
from models.image_structure.names import why_unreadable
from models.opencv import cv2
from models.remarks import Remark
from models.sample_depth import Image, contradicts, darkness, to_8_bits
from models.sample_format import PLAIN, SampleFormat, no_mosaic
from schemas.records import Encoding

#: Divisors of a reduced JPEG. Decoding to 1/8, 1/4 or 1/2 costs a fraction: the inverse DCT does the scaling.
_REDUCTIONS = (8, 4, 2)
_ORIENTED = cv2.IMREAD_IGNORE_ORIENTATION
_PACKED_BITS = (10, 12, 14)


@dataclass(frozen=True, slots=True)
class Decoded:
    """Decoded image: pixels, ``(H, W)`` or ``(H, W, 3)`` BGR uint8, the header of the full image, and remarks on it.

    ``waited_s`` is the time that decoding waited for memory, in seconds.
    """

    pixels: Image
    header: ImageHeader
    remarks: tuple[Remark, ...] = ()
    waited_s: float = 0.0


def image_header(data: bytes, *, max_pixels: int | None = None) -> ImageHeader:
    """Read encoding and size of a JPEG, PNG, BMP or TIFF image without decoding it.

    Raises
    ------
    ImageError
        ``unreadable-image`` for anything else, ``image-too-large`` above ``max_pixels`` (default: the settings).

    Examples
    --------
    >>> image_header(bytes.fromhex("89504e470d0a1a0a0000000d49484452 00000280 000001e0"))
    ImageHeader(encoding=<Encoding.PNG: 'PNG'>, width=640, height=480)
    """
    header = read_header(data)
    if header.encoding is Encoding.OTHER:
        raise ImageError("unreadable-image", why_unreadable(data))
    check_pixels(header.width, header.height, max_pixels)
    return header


def decode(
    data: bytes,
    *,
    colour: bool = False,
    needed_wh: tuple[int, int] | None = None,
    max_pixels: int | None = None,
    bit_depth: int | None = None,
) -> Decoded:
    """Decode to 8-bit grey or BGR, as `decoding` does, but release the share of the memory budget at once."""
    samples = SampleFormat(bit_depth)
    with decoding(data, colour=colour, needed_wh=needed_wh, max_pixels=max_pixels, samples=samples) as decoded:
        return decoded


@contextmanager
def decoding(
    data: bytes,
    *,
    colour: bool = False,
    needed_wh: tuple[int, int] | None = None,
    max_pixels: int | None = None,
    samples: SampleFormat = PLAIN,
    aligned_to: int = 0,
) -> Iterator[Decoded]:
    """Decode to 8-bit grey or BGR, and hold a share of the process's memory budget until the block ends.

    Parameters
    ----------
    colour
        Decode to ``(H, W, 3)`` BGR instead of ``(H, W)`` grey.
    needed_wh
        Width and height to which the caller resizes. A JPEG is then decoded at 1/2, 1/4 or 1/8: the smallest scale
        that divides its size and is not below ``needed_wh``. After resizing to ``needed_wh`` the result differs from
        the full decode by less than one grey level on average.
    max_pixels
        Images with more pixels are refused from their header. Default: the limit of the settings.
    samples
        Stated form of the camera's samples.
    aligned_to
        Common divisor of the edges at which the caller cuts the image; a reduced scale divides it.

    The orientation that EXIF may state is ignored: a camera of a line does not turn, and boxes are in sensor pixels.
    16-bit files keep their upper 8 bits, or the upper 8 of the depth that the file or the caller states. An alpha
    channel is dropped.

    Raises
    ------
    ImageError
        ``image-too-large`` or ``unreadable-image``; ``depth-mismatch`` or ``no-mosaic`` if the image contradicts
        ``samples``.
    """
    header = image_header(data, max_pixels=max_pixels)
    structure = examine(data, header.encoding)
    divisor = _divisor(header, needed_wh, aligned_to)
    depth = (structure.significant_bits or samples.bit_depth) if structure.bits == 16 else None
    if structure.is_inverted and depth is not None and depth < 16:
        raise ImageError(
            "depth-mismatch", f"its words of {depth} bits have 0 for white; save with 0 for black (BlackIsZero)"
        )
    needed_bytes = _needed_bytes(header, structure, divisor, colour, depth)
    if not samples.is_plain:
        # Words, their 8 bits, and the colours of a mosaic.
        needed_bytes += header.width * header.height * (4 + (4 if samples.bayer else 0)) * (3 if colour else 1)
    with BUDGET.share(needed_bytes, f"an image of {header.width}x{header.height} pixels") as share:
        with _memory(header, needed_bytes):
            if samples.is_plain:
                pixels, remarks = _pixels(header, _checked(structure), divisor, colour, depth)
            else:
                pixels, remarks = _formatted(header, _checked(structure), divisor, colour, samples)
        # The decoder must read the same size as our reader: otherwise the limits were checked with wrong numbers.
        if pixels.shape[:2] != (header.height // divisor, header.width // divisor) or pixels.dtype != np.uint8:
            size = f"{header.width}x{header.height}"
            raise ImageError("unreadable-image", f"the {header.encoding} header says {size}, its data does not")
        share.shrink(pixels.nbytes)
        yield Decoded(pixels, header, remarks, share.waited_s)


def decode_whole(data: bytes) -> NDArray[Any]:
    """Decode an image that is to be encoded again: all channels and bits of the file, checked as in `decoding`.

    Returns
    -------
    pixels
        ``(H, W)`` grey or ``(H, W, 3)`` BGR, uint8 or uint16.

    Raises
    ------
    ImageError
        As `decoding`; also ``unreadable-image`` for transparency, which 3 channels cannot hold.
    """
    header = image_header(data)
    structure = examine(data, header.encoding)
    if structure.has_alpha:
        raise ImageError("unreadable-image", "it has an alpha channel; save as grey or colour without transparency")
    colour = structure.channels > 1
    needed_bytes = _needed_bytes(header, structure, 1, colour, structure.bits)
    with (
        BUDGET.share(needed_bytes, f"an image of {header.width}x{header.height} pixels"),
        _memory(header, needed_bytes),
    ):
        return _whole(header, _checked(structure), colour)


def _whole(header: ImageHeader, structure: Structure, colour: bool) -> NDArray[Any]:
    if header.encoding is Encoding.JPEG:
        return _jpeg(structure.data, header, 1, colour)
    flags = cv2.IMREAD_COLOR_BGR if colour else cv2.IMREAD_GRAYSCALE
    return np.asarray(_opencv(header, structure, flags | (cv2.IMREAD_ANYDEPTH if structure.bits > 8 else 0)))


def _checked(structure: Structure) -> Structure:
    return structure if structure.finish is None else replace(structure, data=structure.finish())


def _divisor(header: ImageHeader, needed_wh: tuple[int, int] | None, aligned_to: int) -> int:
    if header.encoding is not Encoding.JPEG or needed_wh is None:
        return 1
    width, height = header.width, header.height
    for by in _REDUCTIONS:
        # Only if sizes and cuts are divisible: half a block at the border would shift the picture by up to a pixel.
        is_divisible = width % by == height % by == aligned_to % by == 0
        if is_divisible and width // by >= needed_wh[0] and height // by >= needed_wh[1]:
            return by
    return 1


def _needed_bytes(header: ImageHeader, structure: Structure, divisor: int, colour: bool, depth: int | None) -> int:
    """Return the most memory that decoding takes, in bytes: result, decoder, and a second copy of 16-bit samples."""
    pixels = header.width * header.height
    result = (3 if colour else 1) * (pixels // divisor**2)
    if header.encoding is Encoding.JPEG:
        return result + structure.work_bytes
    if structure.padded_wh is not None:
        result = (3 if colour else 1) * math.prod(structure.padded_wh)
    # OpenCV's PNG reader composes a second picture, and its Python interface copies every picture.
    is_words = depth is not None or structure.bits in _PACKED_BITS or structure.is_read_as_words
    words = 2 * result if is_words else 0
    alpha = _alpha_bytes(header, structure) if _looks_at_alpha(header, structure) else 0
    return max(2 * (words or result) + (result if words else 0), 2 * alpha + (result if alpha else 0)) + (
        structure.work_bytes
    )


def _alpha_bytes(header: ImageHeader, structure: Structure) -> int:
    """Return the bytes of the pixels with transparency, as OpenCV returns them: four samples for each pixel."""
    return math.prod(structure.padded_wh or (header.width, header.height)) * 4 * (2 if structure.bits > 8 else 1)


def _looks_at_alpha(header: ImageHeader, structure: Structure) -> bool:
    return structure.has_alpha and 2 * _alpha_bytes(header, structure) < LIMITS.memory_bytes // 4


def _pixels(
    header: ImageHeader, structure: Structure, divisor: int, colour: bool, depth: int | None
) -> tuple[Image, tuple[Remark, ...]]:
    if header.encoding is Encoding.JPEG:
        return _jpeg(structure.data, header, divisor, colour), structure.remarks
    flags = cv2.IMREAD_COLOR_BGR if colour else cv2.IMREAD_GRAYSCALE
    remarks, seen = _transparency(header, structure)
    if colour and seen is not None:
        return seen, remarks
    if structure.bits in _PACKED_BITS:
        grey = to_8_bits(_opencv(header, structure, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH), None)
        return (np.repeat(grey[:, :, None], 3, axis=2) if colour else grey), remarks
    if depth is not None:
        samples = _opencv(header, structure, flags | cv2.IMREAD_ANYDEPTH)
        pixels = to_8_bits(samples, depth)
        return pixels, remarks + (darkness(pixels, depth) if contradicts(samples, depth) else ())
    if structure.is_read_as_words:
        pixels = to_8_bits(_opencv(header, structure, flags | cv2.IMREAD_ANYDEPTH), None)
        return pixels, remarks + darkness(pixels)
    pixels = _opencv(header, structure, flags)
    return pixels, remarks + (darkness(pixels) if structure.bits == 16 else ())


def _formatted(
    header: ImageHeader, structure: Structure, divisor: int, colour: bool, samples: SampleFormat
) -> tuple[Image, tuple[Remark, ...]]:
    """Return pixels by the stated form of the samples; a mosaic becomes colour first."""
    is_mosaic = samples.bayer is not None
    if is_mosaic and header.encoding is Encoding.JPEG:
        raise no_mosaic("a JPEG does not keep one; let the camera write PNG or TIFF")
    if is_mosaic and structure.channels != 1:
        raise no_mosaic(f"the image has {structure.channels} channels; let the camera write its raw samples")
    if header.encoding is Encoding.JPEG:
        return samples.to_8_bits(_jpeg(structure.data, header, divisor, colour), 8, None), structure.remarks
    flags = cv2.IMREAD_COLOR_BGR if colour and not is_mosaic else cv2.IMREAD_GRAYSCALE
    remarks, _ = _transparency(header, structure)
    values = _opencv(header, structure, flags | (cv2.IMREAD_ANYDEPTH if structure.bits > 8 else 0))
    pixels = samples.to_8_bits(values, structure.bits, structure.significant_bits)
    return samples.demosaic(pixels, colour), remarks


def _jpeg(data: bytes, header: ImageHeader, divisor: int, colour: bool) -> Image:
    """Return the pixels of a JPEG, byte for byte those of OpenCV; a warning of the library is an error here."""
    try:
        try:
            pixels = _strict_jpeg(data, header, divisor, colour)
        except ValueError as error:
            if "extraneous" not in str(error):
                raise
            pixels = _strict_jpeg(without_padding(data), header, divisor, colour)
    except ValueError as error:
        if "memory" in str(error).lower():
            raise MemoryError(str(error)) from error
        if "subsampling" in str(error):
            kind = "its colours are sampled in a way that is not supported; save as grey, or with 4:4:4, 4:2:2 or 4:2:0"
            raise ImageError("unreadable-image", f"the JPEG cannot be read: {kind}") from error
        raise ImageError("unreadable-image", f"the JPEG is damaged: {error}") from error
    return np.asarray(pixels if colour else pixels[:, :, 0])


def _strict_jpeg(data: bytes, header: ImageHeader, divisor: int, colour: bool) -> Any:
    least = (header.height // divisor, header.width // divisor) if divisor > 1 else (0, 0)
    return simplejpeg.decode_jpeg(
        data, "BGR" if colour else "GRAY", min_height=least[0], min_width=least[1], strict=True
    )


def _opencv(header: ImageHeader, structure: Structure, flags: int) -> Any:
    try:
        pixels = cv2.imdecode(np.frombuffer(structure.data, np.uint8), flags | _ORIENTED)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error.err)) from error
        raise ImageError("unreadable-image", f"{header.encoding} data that OpenCV refuses: {error.err}") from error
    if pixels is None:
        raise ImageError("unreadable-image", f"the {header.encoding} data is damaged or cut off")
    if structure.padded_wh is not None and pixels.shape[1::-1] == structure.padded_wh:
        pixels = pixels[: header.height, : header.width]
    return 65535 - pixels if structure.is_inverted and pixels.dtype == np.uint16 else pixels


def _transparency(header: ImageHeader, structure: Structure) -> tuple[tuple[Remark, ...], Image | None]:
    """Return a remark if pixels are not opaque, or if the check would take too much memory; and the decoded colours.

    The colours are returned only for a PNG of 8 bits, for which OpenCV decodes the same colours without transparency.
    """
    if not structure.has_alpha:
        return (), None
    text = "its transparency is left out: what lies beneath transparent pixels is inspected as it is in the file"
    remarks: tuple[Remark, ...] = (Remark("transparency", text),)
    if not _looks_at_alpha(header, structure):
        return remarks, None
    pixels = _opencv(header, structure, cv2.IMREAD_UNCHANGED)
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        return remarks, None
    if bool((pixels[:, :, 3] == np.iinfo(pixels.dtype).max).all()):
        remarks = ()
    is_same = header.encoding is Encoding.PNG and pixels.dtype == np.uint8
    return remarks, np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR), np.uint8) if is_same else None


@contextmanager
def _memory(header: ImageHeader, needed_bytes: int) -> Iterator[None]:
    """Turn a lack of memory into an error of the image."""
    try:
        yield
    except MemoryError as error:
        raise ImageError(
            "image-too-large",
            f"the process has no memory left to decode {header.width}x{header.height} pixels, "
            f"which takes {-(-needed_bytes // 2**20)} MiB",
        ) from error
