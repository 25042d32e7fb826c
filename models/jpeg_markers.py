"""Search for the next marker of a JPEG (ITU-T T.81, section B.1.1.2), in one pass and over a bounded distance."""

from __future__ import annotations

import re

#: Marker: FF and a code. FF 00 is a stuffed byte, and FF before FF is a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
#: Bytes behind FF that are not the code of a marker; empty for the end of the data.
_NO_CODE = (b"", b"\x00", b"\xff")
#: Most zeros and fill bytes between two segments, more than any camera writes.
_MAX_GAP_BYTES = 64 * 1024
#: Most stray bytes between two segments that are cut out.
MAX_STRAY_BYTES = 64


def next_marker(data: bytes, position: int) -> int:
    """Return the position of the code of the next marker, behind its FF and any fill bytes; -1 if there is no marker.

    Raises
    ------
    ValueError
        If more fill bytes and zeros, or more other bytes, lie before the marker than cameras write.

    Examples
    --------
    >>> next_marker(bytes.fromhex("00 ff ff d8"), 0)
    3
    """
    if data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] not in _NO_CODE:
        return position + 1
    found = _MARKER.search(data, position, position + _MAX_GAP_BYTES + 2)
    if found is None:
        if len(data) > position + _MAX_GAP_BYTES + 2:
            raise ValueError(f"no marker within {_MAX_GAP_BYTES} bytes of byte {position}")
        return -1
    if found.start() > position:
        stray = len(data[position : found.start()].strip(b"\0\xff"))
        if stray > MAX_STRAY_BYTES:
            raise ValueError(f"{stray} bytes that belong to no segment at byte {position}")
    return found.end() - 1
