"""Times as people write them on a command line."""

from __future__ import annotations

import re

from schemas.errors import SettingsError
from schemas.moments import AmbiguousTime, utc_us_of

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def utc_us(text: str, option: str) -> int:
    """Return UTC microseconds of an ISO 8601 time; a time without an offset is this machine's local time.

    Raises
    ------
    SettingsError
        If the text is not such a time, or is a local time that the clocks show twice or never.

    Examples
    --------
    >>> utc_us("2026-11-24T06:00:00+01:00", "--from")
    1795496400000000
    """
    try:
        return utc_us_of(text)
    except AmbiguousTime as error:
        raise SettingsError(f"{option} {text!r}: {error}") from None
    except ValueError:
        raise SettingsError(f"{option} {text!r}: a time as in 2026-11-24T06:00 or 2026-11-24T06:00:00Z") from None


def seconds(text: str, option: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``15m``, ``8h``, ``2d``.

    Raises
    ------
    SettingsError
        If the text is not such a duration.

    Examples
    --------
    >>> seconds("15m", "--last")
    900.0
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhd])", text.strip())
    if match is None:
        raise SettingsError(f"{option} {text!r}: a duration as in 90s, 15m, 8h or 2d")
    return float(match[1]) * _UNITS_S[match[2]]


def frames_or_seconds(text: str, option: str) -> tuple[int, float]:
    """Return a number of frames such as ``400``, and the seconds of a duration such as ``10m``; the missing one is 0.

    Raises
    ------
    SettingsError
        If the text has neither form.

    Examples
    --------
    >>> frames_or_seconds("400", "--warm-up"), frames_or_seconds("10m", "--warm-up")
    ((400, 0.0), (0, 600.0))
    """
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return int(text), 0.0
    try:
        return 0, seconds(text, option)
    except SettingsError:
        raise SettingsError(f"{option} {text!r}: a number of frames as in 400, or a duration as in 10m") from None
