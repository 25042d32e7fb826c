"""Text that others have chosen, on its way to a terminal."""

from __future__ import annotations


def shown(text: str, limit: int = 1000) -> str:
    r"""The text with every character that a terminal would act on, or not show, as its escape.

    Names of cameras and frames come out of messages that anyone may have sent: an escape sequence in one could clear
    the screen or dress up a line as another.

    Parameters
    ----------
    limit
        Characters of the text that are shown; what is left out is said.

    Examples
    --------
    >>> print(shown("press/top\x1b[2J\nOK"))
    press/top\x1b[2J\nOK
    >>> print(shown("Prüfer\u202e"), shown("x" * 10, 4))
    Prüfer\u202e xxxx... (6 more characters)
    """
    kept = "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode()
        for character in text[:limit]
    )
    return kept if len(text) <= limit else f"{kept}... ({len(text) - limit} more characters)"
