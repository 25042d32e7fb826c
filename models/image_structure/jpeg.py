"""Segments and scans of a JPEG, compared with the bytes of the file (ITU-T T.81, annexes B and G)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from models.image_limits import LIMITS
from models.image_structure.base import Structure, unreadable
from models.jpeg_markers import MAX_STRAY_BYTES, next_marker
from models.remarks import Remark

#: Most scans of a file. Progressive files of all common encoders have at most 14; each scan costs a pass over the whole
#: picture.
MAX_SCANS = 64
#: Most segments of a file, more than any camera writes.
_MAX_SEGMENTS = 4096
#: Beginning of a JPEG.
_PICTURE = b"\xff\xd8\xff"
_SOI, _EOI, _SOS, _DHT, _DNL, _APP0 = 0xD8, 0xD9, 0xDA, 0xC4, 0xDC, 0xE0
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
#: Start-of-frame markers that are not decoded, and their names.
_OTHER_FRAMES = {
    0xC3: "lossless", 0xC5: "differential", 0xC6: "differential progressive", 0xC7: "differential lossless",
    0xC8: "extended", 0xC9: "arithmetic-coded", 0xCA: "arithmetic-coded progressive", 0xCB: "arithmetic-coded lossless",
    0xCD: "arithmetic-coded differential", 0xCE: "arithmetic-coded differential", 0xCF: "arithmetic-coded lossless",
    0xF7: "lossless (JPEG-LS)",
}  # fmt: skip
#: End of entropy-coded data. Within the data FF is followed by 0 (a stuffed byte), a restart marker or a fill byte; FF
#: with any other byte ends the data.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
#: Zeros before a marker within or behind a scan. The first zero behind FF is not padding but a stuffed byte.
_PADDING = re.compile(rb"(?:\xff\x00|[^\x00\xff])(\x00{1,64})(?=\xff[\x01-\xfe])", re.DOTALL)
#: Zeros within a scan: over a whole block of 8x8 in which each coefficient has the value of the shortest code.
_LOST = bytes(40)
_MAX_PADDING_BYTES = 64
_NOT_ZERO = re.compile(rb"[^\x00]")
_COEFFICIENTS = 64
#: Most blocks of 8x8 that all scans visit, per pixel of the limit. A progressive file in full colour has about 0.3.
_VISITS_OF_A_PIXEL = 0.48
#: Spectral selection and approximation of a scan that is not progressive.
_SEQUENTIAL = bytes([0, _COEFFICIENTS - 1, 0])

#: Replacement of bytes: the first place, the place behind the last, and the new bytes.
_Edit = tuple[int, int, bytes]


@dataclass(slots=True)
class _Component:
    """Component of a frame: horizontal and vertical sampling, and the bit position that each coefficient has reached.

    A bit position of -1 means that the coefficient was not sent yet.
    """

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
    """Check all segments and scans up to the end marker; bytes behind it are ignored, because cameras add some.

    Raises
    ------
    ImageError
        ``unreadable-image``: truncated, scans missing, more than `MAX_SCANS` scans, or a kind that is not decoded.
    """
    position, scans, frame = 2, 0, None
    edits: list[_Edit] = []
    zero_codes: dict[int, int] = {}
    stray = visits = 0
    for _ in range(_MAX_SEGMENTS):
        at = _next_marker(data, position)
        if at - 1 > position:
            # Cameras align segments with zeros, about which the decoder complains.
            stray += len(data[position : at - 1].strip(b"\0\xff"))
            edits.append((position, at - 1, b""))
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
        elif marker == _DHT:
            zero_codes |= _zero_codes(body)
        elif marker == _APP0 and body[:5] == b"JFIF\0" and body[5:6] != b"\1":
            edits.append((at + 8, at + 9, b"\1"))  # the decoder warns of versions other than 1
        elif marker == _SOS:
            scans += 1
            if frame is not None and frame.marker != _PROGRESSIVE and body[-3:] == bytes(3):
                edits.append((end - 3, end, _SEQUENTIAL))
            if scans > MAX_SCANS:
                unreadable(f"the JPEG has more than {MAX_SCANS} scans")
            visits += _scan(frame, body)
            if visits > _VISITS_OF_A_PIXEL * LIMITS.max_pixels:
                unreadable(f"the JPEG has too many scans ({scans} and more) for its size")
            found = _END_OF_SCAN.search(data, end)
            if found is None:
                unreadable("the JPEG is cut off: it has no end marker")
            if not _may_be_zeros(frame, body, zero_codes):
                _check_zeros(data, end, found.start())
            position = found.start()
        elif marker == _DNL:
            unreadable("a JPEG that gives its height behind the picture (DNL) is not supported")
        elif marker == _SOI or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            unreadable(f"the JPEG has a marker FF{marker:02X} that does not belong at byte {at - 1}")
    else:
        unreadable(f"the JPEG has more than {_MAX_SEGMENTS} segments")
    if stray > MAX_STRAY_BYTES:
        unreadable(f"the JPEG has {stray} bytes that belong to no segment")
    if frame is None or not scans:
        unreadable("the JPEG ends before its picture")
    _complete(frame)
    remarks = []
    if stray:
        text = f"{stray} bytes that belong to no segment of the JPEG are left out: its file is not quite whole"
        remarks.append(Remark("stray-bytes", text))
    if data.find(_PICTURE, at) >= 0:
        text = "a second picture behind the end of the JPEG is left out: send one image a frame"
        remarks.append(Remark("second-picture", text))
    return Structure(
        data=_edited(data, edits),
        channels=len(frame.components),
        work_bytes=_work_bytes(frame, scans),
        remarks=tuple(remarks),
    )


def without_padding(data: bytes) -> bytes:
    """Return a checked file without the zero bytes between the last code and the next marker (RSTn or another).

    `examine_jpeg` must have accepted the file. Some cameras write such zeros. At most 64 in one place are left out: a
    file with more zeros has lost a part of its data.
    """
    edits: list[_Edit] = []
    position = 2
    while (at := _next_marker(data, position)) > 0 and data[at] != _EOI:
        position = at + 1 + int.from_bytes(data[at + 1 : at + 3], "big")
        if data[at] == _SOS:
            found = _END_OF_SCAN.search(data, position)
            if found is None:
                break
            zeros = _PADDING.finditer(data, position, found.end())
            edits += [(each.start(1), each.end(1), b"") for each in zeros]
            position = found.start()
    return _edited(data, edits)


def _next_marker(data: bytes, position: int) -> int:
    try:
        at = next_marker(data, position)
    except ValueError as error:
        unreadable(f"the JPEG has {error}")
    if at < 0:
        unreadable("the JPEG is cut off: it has no end marker")
    return at


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


def _scan(frame: _Frame | None, body: bytes) -> int:
    """Record the coefficients that a scan adds to its components, and the bit down to which it sends them.

    Return the number of blocks that the scan visits.
    """
    count = body[0] if body else 0
    if frame is None or not 1 <= count <= 4 or len(body) != 4 + 2 * count:
        unreadable("a scan header of the JPEG is damaged")
    first, last, bits = body[1 + 2 * count :]
    if frame.marker != _PROGRESSIVE:
        first, last, bits = 0, _COEFFICIENTS - 1, 0
    high, low = bits >> 4, bits & 15
    if not first <= last < _COEFFICIENTS or low > 13 or (first == 0 and last and frame.marker == _PROGRESSIVE):
        unreadable("a scan header of the JPEG is damaged")
    samples = 0
    for number in range(count):
        component = frame.components.get(body[1 + 2 * number])
        if component is None:
            unreadable("a scan of the JPEG belongs to no component of its frame header")
        before = set(component.bit[first : last + 1])
        # The first scan of a coefficient begins at any bit; each later scan adds one bit.
        if before != {high if high else -1} or (high and low != high - 1):
            unreadable("scans of the JPEG do not follow on each other: one is missing or repeated")
        component.bit[first : last + 1] = [low] * (last + 1 - first)
        samples += component.across * component.down
    most = max(each.across for each in frame.components.values()) * max(each.down for each in frame.components.values())
    return frame.width * frame.height * samples // (most * _COEFFICIENTS)


def _zero_codes(body: bytes) -> dict[int, int]:
    """Return the symbol of the code of zeros alone, the first one, of each Huffman table of a segment."""
    found, at = {}, 0
    while at + 17 < len(body):
        found[body[at]] = body[at + 17]
        at += 17 + sum(body[at + 1 : at + 17])
    return found


def _may_be_zeros(frame: _Frame | None, body: bytes, zero_codes: dict[int, int]) -> bool:
    """Return True if zeros alone can be the code of a plain surface: the ends of blocks, or bits of a later scan."""
    count = body[0]
    first, high = body[1 + 2 * count], body[3 + 2 * count] >> 4
    if frame is not None and frame.marker == _PROGRESSIVE and (first == 0 or high):
        return True
    codes = [zero_codes.get(0x10 | tables & 15) for tables in body[2 : 2 + 2 * count : 2]]
    # A symbol without bits of a value ends a block, or a run of blocks; 0xF0 is a run of zeros.
    return all(code is None or code & 15 == 0 for code in codes)


def _check_zeros(data: bytes, begin: int, end: int) -> None:
    """Refuse zeros in the place of lost data, which decode without a warning if the number of blocks happens to fit."""
    while (at := data.find(_LOST, begin, end)) >= 0:
        after = _NOT_ZERO.search(data, at, end + 1)
        begin = after.start() if after is not None else end
        is_padding = data[begin : begin + 1] == b"\xff" and data[begin + 1 : begin + 2] != b"\0"
        if not is_padding or begin - at > _MAX_PADDING_BYTES:
            unreadable(f"the JPEG is damaged: {begin - at} zeros within its picture, at byte {at}, stand for lost data")


def _complete(frame: _Frame) -> None:
    for name, component in frame.components.items():
        missing = _COEFFICIENTS - component.bit.count(0)
        if missing:
            unreadable(f"the JPEG lacks scans: component {name} lacks {missing} of {_COEFFICIENTS} coefficients")


def _work_bytes(frame: _Frame, scans: int) -> int:
    """Return the memory for coefficients, in bytes, at 2 bytes for each coefficient.

    If several scans add up to the picture, the decoder stores the whole picture; otherwise it stores some rows of
    blocks.
    """
    across = max(each.across for each in frame.components.values())
    down = max(each.down for each in frame.components.values())
    units_x = -(-frame.width // (8 * across))
    units_y = -(-frame.height // (8 * down)) if frame.marker == _PROGRESSIVE or scans > 1 else 4
    blocks = units_x * units_y * sum(each.across * each.down for each in frame.components.values())
    return blocks * _COEFFICIENTS * 2


def _edited(data: bytes, edits: list[_Edit]) -> bytes:
    """Return the file with the edits applied; the edits are in the order of their places."""
    if not edits:
        return data
    view, start = memoryview(data), 0
    parts: list[bytes | memoryview] = []
    for begin, end, new in edits:
        parts += [view[start:begin], new]
        start = end
    return b"".join([*parts, view[start:]])
