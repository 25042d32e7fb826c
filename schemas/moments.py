"""Times of records as text. A record may carry any number; none of them stops a list."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

#: Shown where a record has no time, or one that no calendar has.
NO_TIME: Final = "no time"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(at_us: float | None) -> datetime | None:
    """Return the time of UTC microseconds, None where there is none from year 1 to 9999.

    Examples
    --------
    >>> time_of(1795500000000000)
    datetime.datetime(2026, 11, 24, 6, 0, tzinfo=datetime.timezone.utc)
    >>> time_of(2**62), time_of(-(2**62)), time_of(None), time_of(float("nan"))
    (None, None, None, None)
    """
    if at_us is None or not math.isfinite(at_us):
        return None
    try:
        # Whole microseconds: a float of seconds has too few digits.
        return _EPOCH + timedelta(microseconds=int(at_us))
    except OverflowError:
        return None


def time_text(at_us: float | None, timespec: str = "seconds") -> str:
    """Return UTC microseconds as ISO 8601, `NO_TIME` where there is no such time.

    Parameters
    ----------
    timespec
        ``minutes``, ``seconds``, ``milliseconds`` or ``microseconds``, as for `datetime.isoformat`.

    Examples
    --------
    >>> time_text(1795500000000000), time_text(1795500000123456, "milliseconds")
    ('2026-11-24T06:00:00Z', '2026-11-24T06:00:00.123Z')
    >>> time_text(2**62), time_text(-(2**62)), time_text(None)
    ('no time', 'no time', 'no time')
    """
    found = time_of(at_us)
    return NO_TIME if found is None else found.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"
