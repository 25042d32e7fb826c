"""Texts in a CSV file that a spreadsheet would take for a formula, and back.

Names of cameras and parts come out of messages that anyone may have sent; a cell that begins with ``=`` is run when the
file is opened (OWASP, "CSV Injection"). An apostrophe before it makes it a text; `unguarded` takes it away again.
"""

from __future__ import annotations

import re

_RISKY = re.compile("'*[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]")


def guarded(text: str) -> str:
    """The text, with an apostrophe in front where a spreadsheet would run it.

    Examples
    --------
    >>> guarded("=1+1"), guarded("P-77"), guarded("'=x")
    ("'=1+1", 'P-77', "''=x")
    """
    return f"'{text}" if _RISKY.match(text) else text


def unguarded(text: str) -> str:
    """What `guarded` was given.

    Examples
    --------
    >>> unguarded("'=1+1"), unguarded("'tis"), unguarded("=1+1")
    ('=1+1', "'tis", '=1+1')
    """
    return text[1:] if text.startswith("'") and _RISKY.match(text) else text
