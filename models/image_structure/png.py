"""Chunks of a PNG, compared with the bytes of the file (ISO/IEC 15948, and its APNG extension)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.image_limits import check_samples
from models.image_structure.base import SURPLUS_BYTES, Structure, unreadable
from models.opencv import cv2

_START = 8
#: Samples of each colour type: grey, RGB, palette, grey and alpha, RGB and alpha.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_GREY, _PALETTE = 0, 3
#: First column and row, and steps, of the seven passes of an interlaced image.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
#: Chunks that change pixels. The others are left out: some are compressed, and decoders unpack them without a bound.
_KEPT = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_MAX_CHUNKS = 100_000
#: libpng's limit on each side: it refuses more with a line on standard error.
_MAX_SIDE = 1_000_000
#: Up to this size the unpacked rows are handed to the decoder, which need not unpack them a second time.
_HANDED_OVER_BYTES = 48 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
_STORED_BYTES = 65_535


@dataclass(frozen=True, slots=True)
class _Header:
    width: int
    height: int
    depth: int
    colour: int
    is_interlaced: bool

    @property
    def rows(self) -> list[tuple[int, int]]:
        """Number of rows, and bytes of a row with its filter byte, of each pass."""
        found = []
        passes = _PASSES if self.is_interlaced else ((0, 0, 1, 1),)
        for left, top, step_x, step_y in passes:
            width, height = -(-(self.width - left) // step_x), -(-(self.height - top) // step_y)
            if width > 0 and height > 0:
                found.append((height, 1 + -(-width * self.depth * _CHANNELS[self.colour] // 8)))
        return found


def examine_png(data: bytes) -> Structure:
    """Walk all chunks up to IEND: lengths, check sums, order, and the size of the unpacked rows.

    Raises
    ------
    ImageError
        ``unreadable-image``: truncated, a wrong check sum, chunks out of order, an animation.
    """
    position, header = _START, None
    significant, has_alpha, colours = None, False, 0
    view = memoryview(data)
    parts: list[memoryview] = []
    kept = [view[:_START]]
    last, leaves_out = b"", False
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            unreadable("the PNG is cut off: it has no IEND chunk")
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            unreadable(
                f"the PNG is cut off: a chunk at byte {position} has {length} bytes by its length field, and "
                f"{len(data) - position - 12} are there"
            )
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            unreadable(f"the PNG is damaged: the check sum of its chunk {kind!r} at byte {position} does not fit")
        body = view[position + 8 : end - 4]
        if header is None:
            header = _header(kind, bytes(body))
        elif kind == b"IHDR":
            unreadable("the PNG has two headers")
        elif kind == b"IDAT":
            if parts and last != kind:
                unreadable("the PNG's image data are not in one piece")
            parts.append(body)
        elif kind == b"PLTE" and header.colour in (0, 4):
            leaves_out = True  # decoders ignore it
            position, last = end, kind
            continue
        elif kind == b"PLTE":
            if colours or parts or length % 3 or not 3 <= length <= 768:
                unreadable("the PNG's palette is damaged")
            colours = length // 3
        elif kind == b"tRNS" and header.colour == _GREY and (length != 2 or parts):
            leaves_out = True  # decoders ignore it
            position, last = end, kind
            continue
        elif kind == b"tRNS":
            has_alpha = _transparency(header, length, bool(colours), bool(parts))
        elif kind == b"sBIT" and not parts:
            significant = _significant(header, bytes(body))
        elif kind == b"acTL" and length == 8 and int.from_bytes(body[:4], "big") > 1:
            unreadable(f"the PNG is an animation of {int.from_bytes(body[:4], 'big')} pictures; send one image a frame")
        elif kind not in _KEPT and kind[:1].isupper():
            unreadable(f"the PNG has a chunk {kind!r} that is needed to read it and not known")
        if kind in _KEPT:
            kept.append(view[position:end])
        else:
            leaves_out = True
        position, last = end, kind
        if kind == b"IEND":
            break
    else:
        unreadable(f"the PNG has more than {_MAX_CHUNKS} chunks")
    if not parts:
        unreadable("the PNG has no image data")
    if header.colour == _PALETTE and not colours:
        unreadable("the PNG has no palette")
    is_short = header.colour == _PALETTE and colours < 2**header.depth
    whole = None if leaves_out or position < len(data) else data
    unpacked_bytes = sum(count * size for count, size in header.rows)
    check_samples(unpacked_bytes)
    channels = 3 if header.colour == _PALETTE else _CHANNELS[header.colour]
    return Structure(
        data=data,
        finish=partial(_finish, header, parts, kept, whole, colours if is_short else None),
        channels=channels + (has_alpha and header.colour not in (4, 6)),
        bits=header.depth,
        significant_bits=significant,
        has_alpha=has_alpha or header.colour in (4, 6),
        work_bytes=(2 * unpacked_bytes if unpacked_bytes <= _HANDED_OVER_BYTES else _PIECE_BYTES)
        + (header.width * header.height if is_short else 0),
    )


def _finish(
    header: _Header, parts: list[memoryview], kept: list[memoryview], whole: bytes | None, colours: int | None
) -> bytes:
    """Unpack the rows and return the file for the decoder.

    Parameters
    ----------
    whole
        The file, if nothing of it is left out.
    colours
        Number of colours of a palette that is shorter than the pixels allow; None without such a palette.
    """
    rows = _unpack(header, b"".join(parts))
    image_data = _chunk(b"IDAT", [*parts]) if rows is None else _stored(rows)
    if colours is not None:
        _check_colours(header, image_data, colours)
    if rows is None:
        return b"".join(kept) if whole is None else whole
    before = [each for each in kept if bytes(each[4:8]) not in (b"IDAT", b"IEND")]
    return b"".join([*before, *image_data, *_chunk(b"IEND", [])])


def _check_colours(header: _Header, image_data: list[bytes | memoryview], colours: int) -> None:
    """Refuse pixels of colours that a short palette does not have: they would be black.

    The decoder undoes filters and passes: it gets the numbers of the colours as levels of grey.
    """
    grey = struct.pack(">IIBBBBB", header.width, header.height, header.depth, _GREY, 0, 0, header.is_interlaced)
    file = b"".join([b"\x89PNG\r\n\x1a\n", *_chunk(b"IHDR", [grey]), *image_data, *_chunk(b"IEND", [])])
    try:
        levels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error.err)) from error
        levels = None
    if levels is None:
        unreadable("the PNG is damaged: its pixels cannot be read")
    largest = int(levels.max()) * (2**header.depth - 1) // 255
    if largest >= colours:
        unreadable(f"the PNG is damaged: a pixel has the colour {largest} of a palette of {colours}")


def _header(kind: bytes, body: bytes) -> _Header:
    if kind != b"IHDR" or len(body) != 13:
        unreadable("the PNG does not begin with its header")
    width, height, depth, colour, compression, filtering, interlaced = struct.unpack(">IIBBBBB", body)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlaced > 1:
        unreadable(f"the PNG's header is damaged: colour type {colour} of {depth} bits")
    if max(width, height) > _MAX_SIDE:
        unreadable(f"a PNG of {width}x{height} pixels is not supported; a side has at most {_MAX_SIDE} pixels")
    return _Header(width, height, depth, colour, bool(interlaced))


def _transparency(header: _Header, length: int, has_palette: bool, has_data: bool) -> bool:
    fits = {0: length == 2, 2: length == 6, 3: has_palette and 1 <= length <= 256}.get(header.colour, False)
    if has_data or not fits:
        unreadable("the PNG's transparency chunk (tRNS) is damaged")
    return True


def _significant(header: _Header, body: bytes) -> int | None:
    """Return the bits that were measured, the most of any colour channel; None if the chunk is of no use."""
    colours = body[: 1 if header.colour in (0, 4) else 3]
    bits = max(colours, default=0)
    return bits if header.depth == 16 and 8 <= bits < 16 and min(colours) > 0 else None


def _unpack(header: _Header, packed: bytes) -> bytes | None:
    """Unpack the rows and check them; returned only where they are small, else checked piece by piece."""
    wanted = sum(count * size for count, size in header.rows)
    unpacker = zlib.decompressobj()
    keeps, kept, size, at = wanted <= _HANDED_OVER_BYTES, bytearray(), 0, 0
    # Large files go to the decoder as they are, and it would complain of surplus bytes.
    most = wanted + (SURPLUS_BYTES if keeps else 0)
    rest: bytes | memoryview = b""
    try:
        while not unpacker.eof and size <= most:
            if not rest:
                rest = memoryview(packed)[at : at + _PIECE_BYTES]
                at += len(rest)
            piece = unpacker.decompress(rest, min(_PIECE_BYTES, most - size + 1))
            _check_filters(header, piece, size)
            size += len(piece)
            if keeps:
                kept += piece
            rest = unpacker.unconsumed_tail
            if not piece and not rest and at >= len(packed):
                break
    except zlib.error as error:
        unreadable(f"the PNG's image data are damaged: {str(error).rpartition(': ')[2]}")
    if not wanted <= size <= most or not unpacker.eof:
        more = "more" if size > most else "fewer" if size < wanted else "no end after"
        unreadable(f"the PNG's image data are damaged: they hold {more} than the {wanted} bytes that its header says")
    return bytes(memoryview(kept)[:wanted]) if keeps else None


def _check_filters(header: _Header, piece: bytes, begin: int) -> None:
    """Refuse an unknown filter type in rows that begin within a piece; ``begin`` is its place in all rows."""
    start, end = 0, begin + len(piece)
    for count, length in header.rows:
        first = start + -(-max(0, begin - start) // length) * length
        start += count * length
        if max(piece[first - begin : min(start, end) - begin : length], default=0) > 4:
            unreadable("the PNG's image data are damaged: a row has an unknown filter")


def _stored(rows: bytes) -> list[bytes | memoryview]:
    """Return a chunk IDAT with the rows in uncompressed blocks (RFC 1950 and 1951), in parts that are not copied."""
    view = memoryview(rows)
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    for begin in range(0, len(rows), _STORED_BYTES):
        block = view[begin : begin + _STORED_BYTES]
        is_last = begin + _STORED_BYTES >= len(rows)
        parts += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block]
    return _chunk(b"IDAT", [*parts, struct.pack(">I", zlib.adler32(rows))])


def _chunk(kind: bytes, body: list[bytes | memoryview]) -> list[bytes | memoryview]:
    check = zlib.crc32(kind)
    for part in body:
        check = zlib.crc32(part, check)
    return [struct.pack(">I", sum(map(len, body))), kind, *body, struct.pack(">I", check)]
