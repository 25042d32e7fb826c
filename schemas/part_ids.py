"""Texts that a device sends if it has read no part id, and the signs that it puts around an id."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

#: Letters that show nothing: Hangul fillers, and Braille without a dot.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def real_part_id(part_id: str | None, no_part_ids: Collection[str] = ()) -> str | None:
    """Return the part id without invisible characters at its ends, or None for a text that names no part.

    Barcode readers send line ends, NUL, STX and ETX around an id, each in its own way. Two cameras that read the same
    code must name the same part. A text without a visible character never names a part.

    Parameters
    ----------
    part_id
        Text from the camera, the barcode reader or a message.
    no_part_ids
        Texts that mean "no part id" on this line, such as ``NOREAD``. Case and width of letters do not matter.

    Examples
    --------
    >>> real_part_id("P-77\\r", ["NOREAD"]), real_part_id("noread ", ["NOREAD"]), real_part_id("\\x00\\u200b")
    ('P-77', None, None)
    """
    if part_id is None:
        return None
    name = _trimmed(part_id)
    if not name or (no_part_ids and any(_folded(name) == _folded(_trimmed(text)) for text in no_part_ids)):
        return None
    return name


def part_id_pattern() -> str:
    """Return a regular expression, as JSON Schema takes them, that finds a visible character in a text.

    Examples
    --------
    >>> import re
    >>> [bool(re.search(part_id_pattern(), text)) for text in ("P-77", " \\u00fc\\r", " \\r\\x80\\u3164\\U000e0041")]
    [True, True, False]
    """
    # The other planes have no such characters.
    codes = (code for plane in (range(0x20000), range(0xE0000, 0xE1000)) for code in plane)
    ranges: list[list[int]] = []
    for code in filter(lambda code: _is_invisible(chr(code)), codes):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[^" + "".join(f"{_escaped(first)}-{_escaped(last)}" for first, last in ranges) + "]"


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else chr(code)


def _trimmed(text: str) -> str:
    start, end = 0, len(text)
    while start < end and _is_invisible(text[start]):
        start += 1
    while end > start and _is_invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp") or character in _BLANK


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
