"""Names of formats that are not inspected, by their first bytes."""

from __future__ import annotations

from models.errors import ImageError
from models.image_structure.jpeg import examine_jpeg

_CURE = "save as JPEG, PNG, BMP or TIFF"
_NAMES = (
    (b"GIF8", "GIF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"%PDF", "PDF"),
    (b"SIMPLE  =", "FITS"),
)
_KNOWN = ((b"\x89PNG", "PNG"), (b"BM", "BMP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"))


def why_unreadable(data: bytes) -> str:
    """Return one line on an image whose size cannot be read: its format, or its damage.

    Examples
    --------
    >>> why_unreadable(b"GIF89a")
    'GIF is not supported; save as JPEG, PNG, BMP or TIFF'
    """
    for start, name in _NAMES:
        if data.startswith(start):
            return f"{name} is not supported; {_CURE}"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return f"WebP is not supported; {_CURE}"
    if data[4:8] == b"ftyp":
        return f"AVIF, HEIF or video ({data[8:12]!r}) is not supported; {_CURE}"
    if data[:1] == b"P" and data[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6", b"7"):
        return f"PNM is not supported; {_CURE}"
    for start, name in _KNOWN:
        if data.startswith(start):
            return f"the header of the {name} is damaged or cut off"
    if data.startswith(b"\xff\xd8"):
        try:
            examine_jpeg(data)
        except ImageError as error:
            return str(error)
        return "the header of the JPEG is damaged"
    return f"{len(data)} bytes that do not begin as a JPEG, PNG, BMP or TIFF image"
