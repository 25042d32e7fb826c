"""Whole numbers in texts of clients."""

from __future__ import annotations

#: Python refuses to read a number of thousands of digits; a count of bytes or milliseconds has no more than these.
_MOST_DIGITS = 18


def whole_number(text: str) -> int | None:
    """Return a number of at most 18 decimal digits; None for any other text.

    Examples
    --------
    >>> whole_number("0042"), whole_number("-1"), whole_number("\\u00b2"), whole_number("0" * 5000)
    (42, None, None, None)
    """
    return int(text) if len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit() else None
