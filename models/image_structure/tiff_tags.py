"""Directories of a TIFF 6.0 file: tags with their numbers. Each tag is checked to lie within the file."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from models.image_structure.base import unreadable

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION = 256, 257, 258, 259, 262, 266, 274
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_SIZES, MAX_SAMPLE, PLANAR = 273, 277, 278, 279, 281, 284
PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 317, 320, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, S_MAX_SAMPLE, SUBFILE = 338, 339, 341, 254

#: Letter in `struct` of each field type of whole numbers. Other types are text, fractions or floating point.
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
#: Tags of the value of samples: in a file of float samples they are float, and are of no use here.
_OF_SAMPLES = frozenset({MAX_SAMPLE, S_MAX_SAMPLE})
_FLOATS = (11, 12)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
#: Tags whose numbers are needed; for other tags only the position is checked.
_READ = frozenset({
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP,
    STRIP_SIZES, MAX_SAMPLE, PLANAR, PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES,
    EXTRA_SAMPLES, SAMPLE_FORMAT, S_MAX_SAMPLE, SUBFILE,
})  # fmt: skip
_MAX_TAGS = 512
_MAX_PAGES = 64
#: Most strips or tiles of a picture: one for each row of a long line scan.
_MAX_PIECES = 2**18
#: Most numbers that are read of each of these tags: one more than is valid, so that a too high count is noticed.
#: All other tags of `_READ` have at most as many numbers as a pixel has samples.
_PIECES = frozenset({STRIP_OFFSETS, STRIP_SIZES, TILE_OFFSETS, TILE_SIZES})
_MOST_NUMBERS = dict.fromkeys(_PIECES, _MAX_PIECES + 1) | {COLOUR_MAP: 3 * 2**8 + 1}
_MOST_OTHERS = 16

Tags = Mapping[int, tuple[int, ...]]


def first_directory(data: bytes) -> tuple[Tags, int]:
    """Return the tags of the first picture, and the number of pictures without reduced copies.

    Of later directories only the kind of picture is read. A directory that does not lie within the file ends the list.

    Raises
    ------
    ImageError
        ``unreadable-image``: a count or an offset beyond the end of the file, or directories in a circle.
    """
    order = _order(data)
    (at,) = struct.unpack_from(order + "I", data, 4) if len(data) >= 8 else (0,)
    if not at:
        unreadable("the TIFF has no picture")
    tags, at = _directory(data, at, order)
    pages = 1
    seen: set[int] = set()
    while 8 <= at <= len(data) - 6:
        if at in seen or len(seen) > _MAX_PAGES:
            unreadable("the TIFF is damaged: its directories run in a circle")
        seen.add(at)
        (count,) = struct.unpack_from(order + "H", data, at)
        end = at + 2 + 12 * count
        if not 1 <= count <= _MAX_TAGS or end + 4 > len(data):
            break
        pages += not _is_copy(data, at + 2, end, order)
        (at,) = struct.unpack_from(order + "I", data, end)
    return tags, pages


def with_numbers(data: bytes, changes: Mapping[int, Sequence[int]]) -> bytes:
    """Return the file with tags of its first directory replaced or added, and without its other directories."""
    order = _order(data)
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    entries = [data[entry : entry + 12] for entry in range(at + 2, at + 2 + 12 * count, 12)]
    start = len(data) + len(data) % 2
    entries = [each for each in entries if struct.unpack_from(order + "H", each)[0] not in changes]
    raw = b""
    for tag, numbers in changes.items():
        values = struct.pack(f"{order}{len(numbers)}I", *numbers)
        place = values if len(numbers) == 1 else struct.pack(order + "I", start + len(raw))
        entries.append(struct.pack(order + "HHI", tag, 4, len(numbers)) + place)
        raw += values if len(numbers) > 1 else b""
    entries.sort(key=lambda each: int(struct.unpack_from(order + "H", each)[0]))
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    head = data[:4] + struct.pack(order + "I", start + len(raw))
    return b"".join([head, memoryview(data)[8:], bytes(start - len(data)), raw, directory])


def directory_bytes(data: bytes) -> list[tuple[int, int]]:
    """Return begin and end of the parts of the file in which its head, the first directory and its tags lie, in order.

    Only tags that are needed count. Parts that touch or overlap are one.
    """
    order = _order(data)
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    parts = [(0, 8), (at, at + 6 + 12 * count)]
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, numbers, place = struct.unpack_from(order + "HHII", data, entry)
        # The length of other tags is often wrong, and does not matter.
        if tag in _READ and (size := _SIZES.get(kind, 0) * numbers) > 4:
            parts.append((place, place + size))
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(parts):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined


def upright(data: bytes) -> bytes:
    """Return the file with the orientation 1: its pixels are decoded as they are in the file."""
    order = _order(data)
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from(order + "H", data, entry)[0] == ORIENTATION:
            return data[:entry] + struct.pack(order + "HHIHH", ORIENTATION, 3, 1, 1, 0) + data[entry + 12 :]
    return data


def little_endian(tags: Mapping[int, int], strips: Sequence[bytes | memoryview]) -> bytes:
    """Return a TIFF file made of strips, and of tags with one number each."""
    sizes = [len(each) for each in strips]
    total = sum(sizes)
    offsets, at = [], 8
    for size in sizes:
        offsets.append(at)
        at += size
    count = len(tags) + 2
    lists = b"" if len(strips) == 1 else struct.pack(f"<{2 * len(strips)}I", *offsets, *sizes)
    first, second = (offsets[0], sizes[0]) if len(strips) == 1 else (8 + total, 8 + total + 4 * len(strips))
    entries = {tag: (1, value) for tag, value in tags.items()}
    entries |= {STRIP_OFFSETS: (len(strips), first), STRIP_SIZES: (len(strips), second)}
    found = b"".join(struct.pack("<HHII", tag, 4, *entry) for tag, entry in sorted(entries.items()))
    head = b"II*\0" + struct.pack("<I", 8 + total + len(lists))
    return b"".join([head, *strips, lists, struct.pack("<H", count), found, bytes(4)])


def _order(data: bytes) -> str:
    return "<" if data[:2] == b"II" else ">"


def _is_copy(data: bytes, begin: int, end: int, order: str) -> bool:
    """Return True for a directory of a reduced picture or a mask."""
    for entry in range(begin, end, 12):
        tag, kind, numbers = struct.unpack_from(order + "HHI", data, entry)
        if tag == SUBFILE and numbers == 1 and kind in (3, 4):
            return bool(struct.unpack_from(order + _TYPES[kind], data, entry + 8)[0] & 5)
    return False


def _directory(data: bytes, at: int, order: str) -> tuple[Tags, int]:
    if at < 8 or at + 6 > len(data):
        unreadable(f"the TIFF is cut off: a directory lies at byte {at} of {len(data)}")
    (count,) = struct.unpack_from(order + "H", data, at)
    end = at + 2 + 12 * count
    if not 1 <= count <= _MAX_TAGS or end + 4 > len(data):
        unreadable(f"the TIFF is damaged: a directory of {count} tags at byte {at} of {len(data)}")
    tags: dict[int, tuple[int, ...]] = {}
    total = 0
    for entry in range(at + 2, end, 12):
        tag, kind, numbers = struct.unpack_from(order + "HHI", data, entry)
        size = _SIZES.get(kind, 0) * numbers
        place = entry + 8 if size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
        total += size
        if place + size > len(data):
            unreadable(f"the TIFF is damaged: tag {tag} has {size} bytes at byte {place} of {len(data)}")
        if total > len(data):  # the decoder reads each tag into memory
            unreadable(f"the TIFF is damaged: its tags claim {total} bytes of {len(data)} and overlap")
        if tag in _READ and not (tag in _OF_SAMPLES and kind in _FLOATS):
            if kind not in _TYPES or not numbers or tag in tags:
                unreadable(f"the TIFF is damaged: tag {tag} has {numbers} values of type {kind}")
            most = _MOST_NUMBERS.get(tag, _MOST_OTHERS)
            tags[tag] = struct.unpack_from(f"{order}{min(numbers, most)}{_TYPES[kind]}", data, place)
    return tags, struct.unpack_from(order + "I", data, end)[0]
