"""Single entry to the checks of all formats."""

from __future__ import annotations

from models.image_structure.base import Structure, unreadable
from models.image_structure.bmp import examine_bmp
from models.image_structure.jpeg import examine_jpeg
from models.image_structure.png import examine_png
from models.image_structure.tiff import examine_tiff
from schemas.records import Encoding

_EXAMINE = {
    Encoding.PNG: examine_png,
    Encoding.JPEG: examine_jpeg,
    Encoding.BMP: examine_bmp,
    Encoding.TIFF: examine_tiff,
}


def examine(data: bytes, encoding: Encoding) -> Structure:
    """Check a whole image of a known encoding; nothing is decoded to pixels.

    Raises
    ------
    ImageError
        ``unreadable-image``, with the fault and, if there is one, the remedy.
    """
    check = _EXAMINE.get(encoding)
    return (
        check(data) if check is not None else unreadable(f"{encoding} is not supported; save as JPEG, PNG, BMP or TIFF")
    )
