"""Texts of figures for people."""

from __future__ import annotations

import math
import re

from monitoring.quality.estimates import Estimate
from schemas.moments import NO_TIME, time_text

NONE = "-"


_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Return a name from a message, with invisible characters and those that would turn the text around it as escapes.

    Unicode Technical Report 36, section 2.5: direction overrides go on to the end of the paragraph.

    Examples
    --------
    >>> print(visible("top\u202e\x1b, Prüfer"))
    top\u202e\x1b, Prüfer
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def percent(value: float | None, digits: int = 1) -> str:
    r"""Return a share in percent; the percent sign stays on the line.

    Examples
    --------
    >>> percent(0.0417), percent(0.0004), percent(0.0), percent(None), percent(float("nan"))
    ('4.2\xa0%', '0.04\xa0%', '0\xa0%', '-', '-')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if 0 < abs(value) < 0.001:
        digits = 2
    return _trimmed(f"{value * 100:.{digits}f}") + "\u00a0%" if value else "0\u00a0%"


def bounds(estimate: Estimate) -> str:
    r"""Return the 95 % interval of an estimate, or the reason why there is no estimate.

    Examples
    --------
    >>> bounds(Estimate(0.042, 0.021, 0.079, 640)), bounds(Estimate(0.1, 0.1, 0.1, 80))
    ('2.1\xa0% to 7.9\xa0%', 'every part has a label')
    >>> bounds(Estimate(None, why_not="cannot be estimated: no labels"))
    'cannot be estimated: no labels'
    """
    if estimate.value is None:
        return estimate.why_not or "cannot be estimated"
    if estimate.low == estimate.high:
        return "every part has a label"
    return f"{percent(estimate.low)} to {percent(estimate.high)}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a score, a threshold or a probability.

    Examples
    --------
    >>> number(0.5), number(0.123456), number(0.00001), number(30.0, 0), number(None), number(float("nan"))
    ('0.5', '0.123', '1e-05', '30', '-', '-')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if 0 < abs(value) < 10**-digits:
        return f"{value:.1g}"
    return _trimmed(f"{value:.{digits}f}")


def _trimmed(text: str) -> str:
    """Return a number without the zeros at the end of its decimals."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: float | None) -> str:
    """Return a number of parts as a whole number, with thin spaces; an estimate is rounded.

    Examples
    --------
    >>> count(1234567), count(12.4), count(None)
    ('1\u202f234\u202f567', '12', '-')
    """
    if value is None or not math.isfinite(value):
        return NONE
    return f"{round(value):,}".replace(",", "\u202f")


def milliseconds(value: float | None) -> str:
    """Return a duration.

    Examples
    --------
    >>> milliseconds(9.53), milliseconds(812.4), milliseconds(90_000), milliseconds(None)
    ('9.5 ms', '812 ms', '90 s', '-')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if abs(value) >= 10_000:
        return f"{value / 1000:.0f} s"
    return f"{value:.1f} ms" if abs(value) < 100 else f"{value:.0f} ms"


def time(at_us: int | None, *, seconds: bool = True) -> str:
    """Return a time, UTC.

    Examples
    --------
    >>> time(1_700_000_000_000_000), time(None), time(2**63)
    ('2023-11-14 22:13:20 UTC', '-', 'no time')
    """
    if at_us is None:
        return NONE
    text = time_text(at_us, "seconds" if seconds else "minutes")
    return text if text == NO_TIME else text.replace("T", " ").replace("Z", " UTC")


def plural(value: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> plural(1, "part"), plural(2, "part"), plural(0, "overkill", "overkill")
    ('1 part', '2 parts', '0 overkill')
    """
    return f"{count(value)} {one if value == 1 else many or one + 's'}"
