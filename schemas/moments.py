"""Times of records as text. A record may carry any number; no number makes a list fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

#: Text for a record without a time, or with a time outside the calendar.
NO_TIME: Final = "no time"
#: First and last moment of the calendar of `datetime`, UTC µs.
FIRST_US: Final = -62_135_596_800_000_000
LAST_US: Final = 253_402_300_799_999_999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(at_us: float | None) -> datetime | None:
    """Return the time of UTC microseconds; None if it is outside the years 1 to 9999.

    Examples
    --------
    >>> time_of(1795500000000000)
    datetime.datetime(2026, 11, 24, 6, 0, tzinfo=datetime.timezone.utc)
    >>> time_of(2**62), time_of(-(2**62)), time_of(None), time_of(float("nan"))
    (None, None, None, None)
    """
    try:
        # Whole microseconds: a float of seconds has too few digits.
        return None if at_us is None else _EPOCH + timedelta(microseconds=int(at_us))
    except (OverflowError, ValueError):  # too far, infinite; not a number
        return None


def time_text(at_us: float | None, timespec: str = "seconds") -> str:
    """Return UTC microseconds as ISO 8601; `NO_TIME` if there is no such time.

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


def utc_us_of(text: str) -> int:
    """Return UTC microseconds of an ISO 8601 time; without an offset it is this machine's local time.

    Raises
    ------
    ValueError
        If it is not such a time, or is a local time that the clocks show twice or never when they change. The message
        completes a sentence that begins with the time.

    Examples
    --------
    >>> utc_us_of("2026-11-24T06:00:00+01:00")
    1795496400000000
    """
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            first, second = (found.replace(fold=fold).astimezone() for fold in (0, 1))
            if first.utcoffset() != second.utcoffset():
                # PEP 495: the two readings of a local time differ where the clocks change, and nowhere else.
                twice = first.replace(tzinfo=None) == found  # a skipped time reads differently
                kind = "comes twice" if twice else "does not exist"
                named = (second if twice else first).isoformat(timespec="minutes")
                raise AmbiguousTime(f"this local time {kind}, as the clocks change: say the offset, as in {named}")
        return (found.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    except (OverflowError, OSError) as error:
        raise ValueError(str(error)) from error


class AmbiguousTime(ValueError):
    """Local time that the clocks show twice or never."""
