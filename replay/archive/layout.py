"""Layout of an archive: the paths of its files, and the encoding of arbitrary names as parts of a path.

::

    {uri}/archive.json                                         the format's version
    {uri}/commits/{topic}/{partition}/{begin}-{end}.json       archived offsets: written last
    {uri}/commits/{topic}/{partition}/span.json                first and last offset of all commits: written after each
    {uri}/{topic}/line=L1/camera=press%2Ftop/date=2026-11-24/{partition}-{first}-{end}-{hash}.avro
    {uri}/{topic}/date=2026-11-24/...                          records without a camera: dead letters
    {uri}/{topic}/unreadable/date=2026-11-24/...               messages that are not a valid record, as they came
    {uri}/{topic}/mixed/...                                    records that would need too many files

The name of a topic has a dot (its prefix), so no topic can be mistaken for ``commits``.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

ARCHIVE_FILE = "archive.json"
COMMITS = "commits"
_SPAN = "span.json"
#: Maximum number of characters of a percent-encoded name in a path; a file system takes 255 bytes.
_LONGEST = 150
#: Range of years that a datetime, and so most readers of Avro files, can represent (UTC µs).
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
_COMMIT = re.compile(r"(\d{20})-(\d{20})\.json")


@lru_cache(1024)
def encoded(name: str) -> str:
    """Return a name as part of a path: percent-encoded; a long name is cut and marked with its hash.

    Examples
    --------
    >>> encoded("press/top"), encoded("../.."), encoded("Prüfer*")
    ('press%2Ftop', '..%2F..', 'Pr%C3%BCfer%2A')
    >>> len(encoded("x" * 10_000))
    150
    """
    found = quote(name, safe="", errors="backslashreplace")
    if len(found) <= _LONGEST:
        return found
    digest = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:16]
    return f"{found[: _LONGEST - 17]}~{digest}"


def in_calendar(timestamp_us: int) -> int:
    """Return a time, or the nearest one that a calendar has.

    Examples
    --------
    >>> in_calendar(5), in_calendar(2**62) == LAST_US
    (5, True)
    """
    return min(max(timestamp_us, FIRST_US), LAST_US)


def date_of(timestamp_us: int) -> str:
    """Return the UTC date of a time; times outside the calendar become the nearest day of the calendar.

    Examples
    --------
    >>> date_of(1_764_000_000_000_000), date_of(2**62)
    ('2025-11-24', '9999-12-31')
    """
    return _day(in_calendar(timestamp_us) // 86_400_000_000)


@lru_cache(64)
def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(number)).isoformat()


def camera_folder(topic: str, line: str, camera: str, timestamp_us: int) -> str:
    """Return the folder of a camera's records of one day.

    Examples
    --------
    >>> camera_folder("inspection.frames", "L1", "press/top", 0)
    'inspection.frames/line=L1/camera=press%2Ftop/date=1970-01-01'
    """
    return f"{topic}/line={encoded(line)}/camera={encoded(camera)}/date={date_of(timestamp_us)}"


def data_name(folder: str, partition: int, first: int, end: int, sha256: str) -> str:
    """Return the path of a data file. The same records have the same path, and different records different paths."""
    return f"{folder}/{partition}-{first:020d}-{end:020d}-{sha256[:16]}.avro"


def commit_folder(topic: str) -> str:
    """Return the folder of a topic's commits."""
    return f"{COMMITS}/{topic}"


def commit_name(topic: str, partition: int, begin: int, end: int) -> str:
    """Return the path of a commit.

    Examples
    --------
    >>> parse_commit_name(commit_name("inspection.frames", 3, 5, 9))
    CommitName(topic='inspection.frames', partition=3, begin=5, end=9)
    """
    return f"{COMMITS}/{topic}/{partition}/{begin:020d}-{end:020d}.json"


class CommitName(NamedTuple):
    """Facts in the path of a commit."""

    topic: str
    partition: int
    begin: int
    end: int


def parse_commit_name(path: str) -> CommitName | None:
    """Return the facts in the path of a commit; None if the path is not that of a commit."""
    parts = path.split("/")
    match = _COMMIT.fullmatch(parts[-1])
    if len(parts) != 4 or parts[0] != COMMITS or not parts[2].isdecimal() or match is None:
        return None
    return CommitName(parts[1], int(parts[2]), int(match[1]), int(match[2]))


def span_name(topic: str, partition: int) -> str:
    """Return the path of the span of a partition."""
    return f"{COMMITS}/{topic}/{partition}/{_SPAN}"


def parse_span_name(path: str) -> tuple[str, int] | None:
    """Return topic and partition in the path of a span; None if the path is not that of a span.

    Examples
    --------
    >>> parse_span_name(span_name("inspection.frames", 3))
    ('inspection.frames', 3)
    """
    parts = path.split("/")
    if len(parts) != 4 or (parts[0], parts[3]) != (COMMITS, _SPAN) or not parts[2].isdecimal():
        return None
    return parts[1], int(parts[2])
