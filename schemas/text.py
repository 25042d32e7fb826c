r"""Text of unknown origin, made safe for a terminal, a log, a record or a report.

Names of cameras, stations and frames come from messages that anyone may have sent; names of files come from a file
system that allows any bytes. `shown` makes such a text safe for a terminal, `file_text` turns a file name into text
that every encoder accepts.
"""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def file_text(name: object) -> str:
    r"""Return a file name as text; bytes that are not UTF-8 become escapes such as ``\xfc``.

    Python keeps such bytes as lone surrogates (PEP 383), which no strict encoder accepts.

    Examples
    --------
    >>> print(file_text("gr\udcfcn.png"), file_text("grün.png"))
    gr\xfcn.png grün.png
    """
    return _SURROGATE.sub(_escape, str(name))


def shown(text: object, limit: int | None = 1000) -> str:
    r"""Return the text with every character that a terminal would act on, or not show, as its escape.

    An escape sequence in a name could clear the screen or disguise a line; a line end could add a line. Covers control
    characters (C0, DEL, C1), line and paragraph separators, characters that change the direction of writing, characters
    without width, and lone surrogates.

    Parameters
    ----------
    limit
        Most characters of the text that are shown; the rest is counted. None: all are shown.

    Examples
    --------
    >>> print(shown("press/top\x1b[2J\nOK"))
    press/top\x1b[2J\nOK
    >>> print(shown("Prüfer\u202e"), shown("x" * 10, 4))
    Prüfer\u202e xxxx... (6 more characters)
    """
    text = str(text)
    if limit is None or len(text) <= limit:
        return text if text.isprintable() else "".join(map(_visible, text))
    return f"{shown(text[:limit], None)}... ({len(text) - limit} more characters)"


def shortened(text: str, limit: int) -> str:
    """Return the begin and the end of a text that is longer than ``limit``, with the number of characters left out.

    Examples
    --------
    >>> shortened("'xxxxxxxxxxxxxx' is not a number", 20)
    "'xxxxxxxxx... (12 characters) ...t a number"
    """
    if len(text) <= limit:
        return text
    end = limit // 2
    return f"{text[: limit - end]}... ({len(text) - limit} characters) ...{text[-end:]}"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return _escape(character)


def _escape(character: str | re.Match[str]) -> str:
    found = character if isinstance(character, str) else character[0]
    # A byte that is not UTF-8 is shown as that byte.
    code = ord(found)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else found.encode("unicode_escape").decode()
