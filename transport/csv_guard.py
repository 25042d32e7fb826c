r"""Guards against texts in a CSV file that a spreadsheet would take for a formula, and their removal.

Names of cameras and parts come from messages that anyone may have sent. A cell that begins with ``=`` is run when the
file is opened (OWASP, "CSV Injection"). An apostrophe before it makes it a text; `unguarded` removes the apostrophe.

A reader may separate cells at another character than the writer. With ``;``, which is usual in countries with a
decimal comma, the text ``x;=1+1`` is two cells, quoted or not. So a text is guarded after each character at which a
reader may begin a cell, also after spaces and quotes that follow it. All cells are quoted: write with `WRITER`.
"""

from __future__ import annotations

import csv
import re
from typing import Any, Final

#: Options of a `csv.writer` for files that people open in a spreadsheet.
WRITER: Final[dict[str, Any]] = {"quoting": csv.QUOTE_ALL}
# A cell may begin at the start of the text, and after ; | tab and characters that some programs take for a line end;
# then spaces, quotes, and characters without width, which some programs drop, NUL among them.
_BEGIN = (
    "(?:^|(?<=[;|\t\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]))"
    '[ \x00\u00a0\u00ad\u1680\u180e\u2000-\u200f\u202a-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff"]*'
)
# = + - @, as full-width and small characters too, and the minus sign; tab and line ends, which some programs drop.
_RISKY = "[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u2212]"
_TO_GUARD = re.compile(f"({_BEGIN})(?='*{_RISKY})")
_GUARDED = re.compile(f"({_BEGIN})'(?='*{_RISKY})")


def guarded(text: str) -> str:
    """Return the text with an apostrophe before each part that a spreadsheet would run as a formula.

    Examples
    --------
    >>> guarded("=1+1"), guarded("P-77"), guarded("'=x"), guarded("x;=1+1"), guarded("a - b, -c")
    ("'=1+1", 'P-77', "''=x", "x;'=1+1", 'a - b, -c')
    """
    return _TO_GUARD.sub(r"\1'", text)


def unguarded(text: str) -> str:
    """Return the original text of a guarded text.

    Examples
    --------
    >>> unguarded("'=1+1"), unguarded("'tis"), unguarded("=1+1"), unguarded("x;'=1+1")
    ('=1+1', "'tis", '=1+1', 'x;=1+1')
    """
    return _GUARDED.sub(r"\1", text)
