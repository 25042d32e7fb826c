"""Directories of a TIFF 6.0 file: tags with their numbers, each checked to lie within the file."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from models.image_structure.base import unreadable

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_SIZES, MAX_SAMPLE, PLANAR = 273, 277, 278, 279, 281, 284
PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 317, 320, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, S_MAX_SAMPLE, SUBFILE = 338, 339, 341, 254

#: Bytes of a number of each field type, and its letter in `struct`; types without one are text or fractions.
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
#: Tags whose numbers are needed; for other tags only the position is checked.
_READ = frozenset({
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_SIZES,
    MAX_SAMPLE, PLANAR, PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES, EXTRA_SAMPLES,
    SAMPLE_FORMAT, S_MAX_SAMPLE, SUBFILE,
})  # fmt: skip
_MAX_TAGS = 512
_MAX_PAGES = 10_000

Tags = Mapping[int, tuple[float, ...]]


def first_directory(data: bytes) -> tuple[Tags, int]:
    """Return the tags of the first picture, and the number of pictures without reduced copies.

    Raises
    ------
    ImageError
        ``unreadable-image``: a count or an offset beyond the end of the file, or directories in a circle.
    """
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4) if len(data) >= 8 else (0,)
    first: Tags | None = None
    pages = 0
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) > _MAX_PAGES:
            unreadable("the TIFF is damaged: its directories run in a circle")
        seen.add(at)
        tags, following = _directory(data, at, order)
        is_copy = first is not None and bool(int(tags.get(SUBFILE, (0,))[0]) & 5)
        pages += not is_copy
        first = tags if first is None else first
        at = following
    if first is None:
        unreadable("the TIFF has no picture")
    return first, pages


def _directory(data: bytes, at: int, order: str) -> tuple[Tags, int]:
    if at < 8 or at + 6 > len(data):
        unreadable(f"the TIFF is cut off: a directory lies at byte {at} of {len(data)}")
    (count,) = struct.unpack_from(order + "H", data, at)
    end = at + 2 + 12 * count
    if not 1 <= count <= _MAX_TAGS or end + 4 > len(data):
        unreadable(f"the TIFF is damaged: a directory of {count} tags at byte {at} of {len(data)}")
    tags: dict[int, tuple[float, ...]] = {}
    for entry in range(at + 2, end, 12):
        tag, kind, numbers = struct.unpack_from(order + "HHI", data, entry)
        size = _SIZES.get(kind, 0) * numbers
        place = entry + 8 if size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
        if place + size > len(data):
            unreadable(f"the TIFF is damaged: tag {tag} has {size} bytes at byte {place} of {len(data)}")
        if tag in _READ:
            if kind not in _TYPES or not numbers or tag in tags:
                unreadable(f"the TIFF is damaged: tag {tag} has {numbers} values of type {kind}")
            tags[tag] = struct.unpack_from(f"{order}{numbers}{_TYPES[kind]}", data, place)
    return tags, struct.unpack_from(order + "I", data, end)[0]
