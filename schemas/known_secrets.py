"""Values of secrets that this process was given: they are masked wherever it prints them, whatever stands around them.

A library may quote a password alone, without its name and without an address. No form tells it from another word, but
its value does. Settings keep their secrets here when they are made; logs, errors and the output of commands hide them.
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote, quote_plus, unquote, urlsplit

#: Shortest secret that is hidden, in characters: the text of a shorter one may be a part of any word.
SHORTEST = 6
_HIDDEN = "***"
#: Most forms that are kept; a process has a few secrets.
_MOST = 1000
_forms: set[str] = set()
_pattern: re.Pattern[str] | None = None


def keep_secret(*values: str | None) -> None:
    """Hide these values from now on, also as they stand in URLs, in JSON and in `repr`.

    Examples
    --------
    >>> keep_secret("pa/ss wörd")
    >>> without_secrets("refused: pa/ss wörd, pa%2Fss%20w%C3%B6rd"), without_secrets("password")
    ('refused: ***, ***', 'password')
    """
    global _pattern
    for value in values:
        if value is None or len(value) < SHORTEST or len(_forms) > _MOST:
            continue
        _forms.update((value, quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]))
        _forms.update(_lines(value))
    if _forms:
        # Longest first: a secret that begins another one would leave a piece of it. Within a longer word a short secret
        # is no secret.
        words = "|".join(map(re.escape, sorted(_forms, key=len, reverse=True)))
        _pattern = re.compile(rf"(?<!\w)(?:{words})(?!\w)")


def keep_password(address: str | None) -> None:
    """Hide the password of an address, ``scheme://user:password@host``, which a library may print alone.

    Examples
    --------
    >>> keep_password("rtsp://admin:s3cret%21@10.0.0.5/live")
    >>> without_secrets("401 for admin with s3cret!")
    '401 for admin with ***'
    """
    try:
        password = None if address is None else urlsplit(address).password
    except ValueError:  # no URL; `masked_address` hides all of it
        return
    if password:
        keep_secret(password, unquote(password))


def without_secrets(text: str) -> str:
    """Return a text with the values of the kept secrets masked."""
    return text if _pattern is None else _pattern.sub(_HIDDEN, text)


def _lines(value: str) -> list[str]:
    """Return the lines of a secret of several lines, such as a private key, without its first and last line."""
    lines = value.splitlines()
    return [line for line in lines if len(line) >= SHORTEST and not line.startswith("-----")] if len(lines) > 1 else []
