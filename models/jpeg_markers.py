"""The next marker of a JPEG (ITU-T T.81, section B.1.1.2), found in one pass and not far away."""

from __future__ import annotations

import re

#: FF and a code; FF 00 is a stuffed byte, and FF before FF a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
#: What behind FF is no code of a marker, or missing.
_NO_CODE = (b"", b"\x00", b"\xff")
#: More zeros and fill bytes than any camera puts between two segments.
_MAX_GAP_BYTES = 64 * 1024
#: Stray bytes between two segments that are cut out.
MAX_STRAY_BYTES = 64


def next_marker(data: bytes, position: int) -> int:
    """Position of the code of the next marker, behind its FF and any fill bytes; -1 where there is none.

    Raises
    ------
    ValueError
        More fill bytes and zeros, or other bytes, lie before it than cameras write.

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
