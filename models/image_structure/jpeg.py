"""Segments and scans of a JPEG, compared with the bytes of the file (ITU-T T.81, annexes B and G)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from models.image_structure.base import Structure, unreadable

#: Progressive files of all common encoders have at most 14 scans; each costs a pass over the whole picture.
MAX_SCANS = 64
#: More segments than any camera writes.
_MAX_SEGMENTS = 4096
_SOI, _EOI, _SOS, _DNL, _DRI = 0xD8, 0xD9, 0xDA, 0xDC, 0xDD
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
#: Start-of-frame markers that are not decoded, and their names.
_OTHER_FRAMES = {
    0xC3: "lossless", 0xC5: "differential", 0xC6: "differential progressive", 0xC7: "differential lossless",
    0xC8: "extended", 0xC9: "arithmetic-coded", 0xCA: "arithmetic-coded progressive", 0xCB: "arithmetic-coded lossless",
    0xCD: "arithmetic-coded differential", 0xCE: "arithmetic-coded differential", 0xCF: "arithmetic-coded lossless",
}  # fmt: skip
#: Within entropy-coded data FF is followed by 0 (a stuffed byte), a restart marker or a fill byte; all else ends it.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_COEFFICIENTS = 64


@dataclass(slots=True)
class _Component:
    """Horizontal and vertical sampling, and the bit position reached by each coefficient; -1: not sent yet."""

    across: int
    down: int
    bit: list[int] = field(default_factory=lambda: [-1] * _COEFFICIENTS)


@dataclass(slots=True)
class _Frame:
    """Frame header: start-of-frame marker, size in pixels, components by their id."""

    marker: int
    width: int
    height: int
    components: dict[int, _Component]


def examine_jpeg(data: bytes) -> Structure:
    """Walk all segments and scans up to the end marker; bytes behind it are ignored, because cameras add some.

    Raises
    ------
    ImageError
        ``unreadable-image``: truncated, scans missing, more than `MAX_SCANS` scans, or a kind that is not decoded.
    """
    position, scans, frame = 2, 0, None
    paddings: list[tuple[int, int]] = []
    for _ in range(_MAX_SEGMENTS):
        at = _next_marker(data, position)
        if at > position and data[position : at - 1].strip(b"\0\xff"):
            unreadable(f"the JPEG has {at - 1 - position} bytes that belong to no segment at byte {position}")
        if data[position : position + 1] == b"\0":
            paddings.append((position, at - 1))
        marker = data[at]
        if marker == _EOI:
            break
        if at + 3 > len(data):
            unreadable("the JPEG is cut off")
        end = at + 1 + int.from_bytes(data[at + 1 : at + 3], "big")
        if end < at + 3 or end > len(data):
            unreadable(f"the JPEG is cut off: a segment at byte {at - 1} goes on to byte {end} of {len(data)}")
        body = data[at + 3 : end]
        position = end
        if marker in _OTHER_FRAMES:
            unreadable(f"{_OTHER_FRAMES[marker]} JPEG is not supported; save as baseline or progressive JPEG")
        if marker in (_BASELINE, _EXTENDED, _PROGRESSIVE):
            if frame is not None:
                unreadable("the JPEG has two frame headers")
            frame = _frame(marker, body)
        elif marker == _SOS:
            scans += 1
            if scans > MAX_SCANS:
                unreadable(f"the JPEG has more than {MAX_SCANS} scans")
            _scan(frame, body)
            found = _END_OF_SCAN.search(data, end)
            if found is None:
                unreadable("the JPEG is cut off: it has no end marker")
            position = found.start()
        elif marker == _DNL:
            unreadable("a JPEG that gives its height behind the picture (DNL) is not supported")
        elif marker == _SOI or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            unreadable(f"the JPEG has a marker FF{marker:02X} that does not belong at byte {at - 1}")
    else:
        unreadable(f"the JPEG has more than {_MAX_SEGMENTS} segments")
    if frame is None or not scans:
        unreadable("the JPEG ends before its picture")
    _complete(frame)
    return Structure(
        data=_without(data, paddings), channels=len(frame.components), work_bytes=_work_bytes(frame, scans)
    )


def _next_marker(data: bytes, position: int) -> int:
    """Return the position of the code of the next marker, behind its FF and any fill bytes."""
    at = data.find(b"\xff", position)
    while at >= 0 and at + 1 < len(data) and data[at + 1] in (0x00, 0xFF):
        at = data.find(b"\xff", at + 1)
    if at < 0 or at + 1 >= len(data):
        unreadable("the JPEG is cut off: it has no end marker")
    return at + 1


def _frame(marker: int, body: bytes) -> _Frame:
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        unreadable("the JPEG's frame header is damaged")
    bits, height, width, count = struct.unpack_from(">BHHB", body)
    if bits != 8:
        unreadable(f"{bits}-bit JPEG is not supported; save as 8-bit JPEG, or as 16-bit PNG")
    if height == 0:
        unreadable("a JPEG that gives its height behind the picture (DNL) is not supported")
    components = {body[at]: _Component(body[at + 1] >> 4, body[at + 1] & 15) for at in range(6, len(body), 3)}
    if count not in (1, 3, 4) or len(components) != count:
        unreadable(f"a JPEG of {count} components is not supported; save as grey or colour")
    if any(not (1 <= each.across <= 4 and 1 <= each.down <= 4) for each in components.values()):
        unreadable("the JPEG's frame header is damaged: a sampling factor is not 1 to 4")
    return _Frame(marker, width, height, components)


def _scan(frame: _Frame | None, body: bytes) -> None:
    """Record the coefficients that a scan brings, by component, and the lowest bit of each."""
    count = body[0] if body else 0
    if frame is None or not 1 <= count <= 4 or len(body) != 4 + 2 * count:
        unreadable("a scan header of the JPEG is damaged")
    first, last, bits = body[1 + 2 * count :]
    if frame.marker != _PROGRESSIVE:
        first, last, bits = 0, _COEFFICIENTS - 1, 0
    high, low = bits >> 4, bits & 15
    if not first <= last < _COEFFICIENTS or low > 13 or (first == 0 and last and frame.marker == _PROGRESSIVE):
        unreadable("a scan header of the JPEG is damaged")
    for number in range(count):
        component = frame.components.get(body[1 + 2 * number])
        if component is None:
            unreadable("a scan of the JPEG belongs to no component of its frame header")
        before = set(component.bit[first : last + 1])
        # A first scan begins at any bit; a later one adds one bit to a coefficient.
        if before != {high if high else -1} or (high and low != high - 1):
            unreadable("scans of the JPEG do not follow on each other: one is missing or repeated")
        component.bit[first : last + 1] = [low] * (last + 1 - first)


def _complete(frame: _Frame) -> None:
    for name, component in frame.components.items():
        missing = sum(bit != 0 for bit in component.bit)
        if missing:
            unreadable(f"the JPEG lacks scans: component {name} lacks {missing} of {_COEFFICIENTS} coefficients")


def _work_bytes(frame: _Frame, scans: int) -> int:
    """Return the bytes for coefficients: 2 each for the whole picture if scans add up, else for some rows of blocks."""
    across = max(each.across for each in frame.components.values())
    down = max(each.down for each in frame.components.values())
    units_x = -(-frame.width // (8 * across))
    units_y = -(-frame.height // (8 * down)) if frame.marker == _PROGRESSIVE or scans > 1 else 4
    blocks = units_x * units_y * sum(each.across * each.down for each in frame.components.values())
    return blocks * _COEFFICIENTS * 2


def _without(data: bytes, paddings: list[tuple[int, int]]) -> bytes:
    """Return the file without zero bytes between segments: cameras add them to align, and the decoder warns of them."""
    if not paddings:
        return data
    view, parts, start = memoryview(data), [], 0
    for begin, end in paddings:
        parts.append(view[start:begin])
        start = end
    return b"".join([*parts, view[start:]])
