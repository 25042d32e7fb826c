"""Commits: record of the archived offsets and of the files that contain them. They are the truth, and the index.

A writer writes the data files first, then the commit that names them, as one object. A data file without a commit
does not count. A commit is never changed. If two writers do the same work, they only leave two commits over the same
offsets, and `pieces` chooses the commit that provides each offset.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from replay.archive.errors import ArchiveError
from replay.archive.layout import commit_name

#: Version of the format of archive.json and of each commit.
FORMAT = 1


class Segment(NamedTuple):
    """Range of whole blocks of a data file that are read, and checked, together.

    Parameters
    ----------
    first_offset
        Offset of its first record.
    position
        Position of its first byte in the file; the segment ends where the next one begins.
    crc32
        Checksum of its bytes.
    """

    first_offset: int
    position: int
    crc32: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """Avro container file, with the facts that an index needs.

    Parameters
    ----------
    path
        Path below the archive's URI.
    from_us, to_us
        Earliest and latest timestamp of its messages.
    captured_from_us, captured_to_us
        Earliest and latest time of capture; None if its records have no time of capture.
    line, camera
        Line and camera of all its records; None if they have none, or several. The camera is ``station/camera``.
    lots
        Lots of its records, ignoring records without a lot; None if there are too many to name, or if they are unknown.
    references
        Number of frames whose image is not in the file, but in the image store to which they refer.
    header_crc32
        Checksum of the bytes before the first segment.
    """

    path: str
    size_bytes: int
    sha256: str
    records: int
    first_offset: int
    last_offset: int
    from_us: int
    to_us: int
    captured_from_us: int | None
    captured_to_us: int | None
    line: str | None
    camera: str | None
    lots: tuple[str, ...] | None
    references: int
    unreadable: int
    header_crc32: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Commit of the offsets [begin, end): each offset is in one of the files, or the topic has no message there.

    Parameters
    ----------
    topic_id
        Kafka's id of the topic; a topic that was deleted and re-created has a different id.
    deleted_from
        Offsets from it to ``begin`` were deleted from the topic before they were archived; None if none were deleted.
    """

    topic: str
    topic_id: str
    partition: int
    begin: int
    end: int
    files: tuple[DataFile, ...] = ()
    deleted_from: int | None = None
    committed_at_us: int = 0

    @property
    def path(self) -> str:
        """Path of the commit, below the archive's URI."""
        return commit_name(self.topic, self.partition, self.begin, self.end)

    def to_bytes(self) -> bytes:
        """Return the written form: JSON with a checksum of the rest."""
        values = {"format": FORMAT, **asdict(self)}
        return json.dumps({**values, "check": _check(values)}).encode()

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> Commit:
        """Return the commit that is stored at a path.

        Raises
        ------
        ArchiveError
            If the commit is damaged, or of a later format.

        Examples
        --------
        >>> commit = Commit(topic="a.b", topic_id="x", partition=0, begin=5, end=9)
        >>> Commit.from_bytes(commit.to_bytes(), commit.path) == commit
        True
        >>> Commit.from_bytes(commit.to_bytes()[:-3], commit.path)
        Traceback (most recent call last):
        ...
        replay.archive.errors.ArchiveError: commit commits/a.b/0/00000000000000000005-00000000000000000009.json is damaged: ...
        """  # noqa: E501
        try:
            values = json.loads(data)
            check_format(values["format"], path)
            given = {name: value for name, value in values.items() if name != "check"}
            if values["check"] != _check(given):
                raise ValueError("its checksum does not match")
            commit = cls(
                **{f.name: given[f.name] for f in fields(cls) if f.name != "files"},
                files=tuple(_data_file(file) for file in given["files"]),
            )
            if commit.path != path:
                raise ValueError("it belongs to another path")
            for file in commit.files:
                if not file.path.startswith(f"{commit.topic}/") or ".." in file.path.split("/"):
                    raise ValueError("it names a file outside its topic")
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ArchiveError(
                f"commit {path} is damaged: {type(error).__name__}: {error}; put it back from a copy, or delete it and "
                "run `inspection archive`, which archives again what the topic still has"
            ) from error
        return commit


def _data_file(values: dict[str, Any]) -> DataFile:
    lots = values["lots"]
    return DataFile(
        **{
            **values,
            "lots": None if lots is None else tuple(lots),
            "segments": tuple(Segment(*segment) for segment in values["segments"]),
        }
    )


def _check(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_format(version: object, path: str) -> None:
    """Refuse a format that a later version wrote.

    Raises
    ------
    ArchiveError
        If the format is of a later version.
    """
    if isinstance(version, int) and version > FORMAT:
        raise ArchiveError(
            f"{path} is of archive format {version}, this program knows {FORMAT}: use a newer streaming-inspection"
        )
    if version != FORMAT:
        raise ValueError(f"format {version!r}")


class Piece(NamedTuple):
    """Offsets [begin, end) that are taken from a commit."""

    commit: Commit
    begin: int
    end: int


def pieces(commits: Iterable[Commit]) -> list[Piece]:
    """Return, in order, the commit that provides each archived offset of a partition; each offset occurs once.

    Examples
    --------
    >>> made = [Commit(topic="a.b", topic_id="x", partition=0, begin=b, end=e) for b, e in ((0, 5), (3, 9), (4, 6))]
    >>> [(piece.begin, piece.end) for piece in pieces(made)]
    [(0, 5), (5, 9)]
    """
    found: list[Piece] = []
    at = -1
    for commit in sorted(commits, key=lambda one: (one.begin, -one.end)):
        begin = max(at, commit.begin)
        if begin < commit.end:
            found.append(Piece(commit, begin, commit.end))
            at = commit.end
    return found
