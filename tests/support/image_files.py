"""Image files made byte by byte, which encoders do not write."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    values: np.ndarray, *more: tuple[bytes, bytes], size_wh: tuple[int, int] | None = None, packed: bytes | None = None
) -> bytes:
    """Return a grey or RGB PNG of uint8 or uint16 values, with more chunks behind the header."""
    height, width = values.shape[:2]
    colour = 2 if values.ndim == 3 else 0
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2" if values.dtype == np.uint16 else np.uint8))
    header = struct.pack(">IIBBBBB", *(size_wh or (width, height)), values.dtype.itemsize * 8, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows) if packed is None else packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def tiff(tags: dict[int, int | list[int]], strips: list[bytes], *, is_tiled: bool = False, pages: int = 1) -> bytes:
    """Return a little-endian TIFF; offsets and sizes of strips or tiles are added unless given."""
    out = bytearray(b"II*\0\0\0\0\0")
    offsets = []
    for strip in strips:
        offsets.append(len(out))
        out += strip
    places, sizes = (324, 325) if is_tiled else (273, 279)
    entries = {places: offsets, sizes: [len(strip) for strip in strips], 258: 8, 259: 1, 262: 1, 277: 1} | tags
    link = 4
    for _ in range(pages):
        found = b""
        for tag, value in sorted(entries.items()):
            numbers = value if isinstance(value, list) else [value]
            raw = struct.pack(f"<{len(numbers)}I", *numbers)
            if len(raw) > 4:
                raw = struct.pack("<I", len(out))
                out += struct.pack(f"<{len(numbers)}I", *numbers)
            found += struct.pack("<HHI", tag, 4, len(numbers)) + raw
        out[link : link + 4] = struct.pack("<I", len(out))
        out += struct.pack("<H", len(entries)) + found + bytes(4)
        link = len(out) - 4
    return bytes(out)


def grey_tiff(values: np.ndarray, **tags: int) -> bytes:
    """Return an uncompressed grey TIFF of one strip; tags as ``t281=4095``."""
    height, width = values.shape
    more = {int(name[1:]): value for name, value in tags.items()}
    return tiff({256: width, 257: height, 258: values.dtype.itemsize * 8, 278: height} | more, [values.tobytes()])


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def scans_of(jpeg: bytes) -> list[int]:
    """Return the offsets at which the scans of a JPEG begin."""
    found, at = [], jpeg.find(b"\xff\xda")
    while at >= 0:
        found.append(at)
        at = jpeg.find(b"\xff\xda", at + 2)
    return found


def many_scans(scans: int, side: int = 64) -> bytes:
    """Return a uniform grey progressive JPEG; each scan brings one bit of one coefficient, as the standard allows.

    Coefficients begin at bit 13, so that each of the 63 can take 14 scans.
    """
    blocks = (side // 8) ** 2

    def scan(at: int, high: int, low: int, bits: str) -> bytes:
        bits += "1" * (-len(bits) % 8)
        data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
        return segment(0xDA, bytes([1, 1, 0, at, at, high * 16 + low])) + data

    start = b"\xff\xd8" + segment(0xDB, bytes([0] + [1] * 64))
    start += segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0]))
    # One code each: no difference (DC), and the end of a block (AC).
    start += segment(0xC4, bytes([0, 1] + [0] * 15 + [0])) + segment(0xC4, bytes([0x10, 1] + [0] * 15 + [0]))
    parts = [start, scan(0, 0, 0, "0" * blocks)]
    plan = []
    extra = scans - 64
    for at in range(1, 64):
        first = min(13, max(0, extra))
        extra -= first
        plan += [(at, 0 if low == first else low + 1, low) for low in range(first, -1, -1)]
    parts += [scan(at, high, low, "0" * blocks) for at, high, low in plan[: scans - 1]]
    return b"".join(parts) + b"\xff\xd9"
