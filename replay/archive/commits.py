"""Commits: which offsets an archive holds, and in which files. They are the truth, and the index.

Data files are written first, then the commit that names them, as one object; a data file without a commit is nothing.
Nothing of a commit is ever changed, so that writers who did the same work twice only leave two commits over the same
offsets: `pieces` says which of them answers for which offset.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from replay.archive.errors import ArchiveError
from replay.archive.layout import commit_name

#: Of archive.json and of each commit.
FORMAT = 1


class Segment(NamedTuple):
    """A stretch of whole blocks of a data file that is read, and checked, at once.

    Parameters
    ----------
    first_offset
        Of its first record.
    position
        Of its first byte in the file; it ends where the next begins.
    crc32
        Of its bytes.
    """

    first_offset: int
    position: int
    crc32: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One Avro container file, and what an index needs to know of it.

    Parameters
    ----------
    path
        Below the archive's URI.
    from_us, to_us
        Earliest and latest timestamp of its messages.
    captured_from_us, captured_to_us
        The same for the times of capture; None where its records have none.
    line, camera
        Of all its records; None where they have none, or several. The camera is ``station/camera``.
    lots
        Of its records, without those that have none; None: too many to name, or not known.
    references
        Frames whose image is not in the file, but where they say.
    header_crc32
        Of the bytes before the first segment.
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
    """Every offset in [begin, end) is settled: its message is in one of the files, or there is none.

    Parameters
    ----------
    topic_id
        Kafka's id of the topic; one that was deleted and made anew has another.
    deleted_from
        Offsets from it to ``begin`` were deleted from the topic before they were archived; None: none were.
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
        """Where it lies, below the archive's URI."""
        return commit_name(self.topic, self.partition, self.begin, self.end)

    def to_bytes(self) -> bytes:
        """As it is written: JSON with a checksum of the rest."""
        values = {"format": FORMAT, **asdict(self)}
        return json.dumps({**values, "check": _check(values)}).encode()

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> Commit:
        """The commit that lies at a path.

        Raises
        ------
        ArchiveError
            If it is damaged, or of a later format.

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
                raise ValueError("its checksum is another")
            commit = cls(
                **{f.name: given[f.name] for f in fields(cls) if f.name != "files"},
                files=tuple(_data_file(file) for file in given["files"]),
            )
            if commit.path != path:
                raise ValueError("it is of another place")
            for file in commit.files:
                if not file.path.startswith(f"{commit.topic}/") or ".." in file.path.split("/"):
                    raise ValueError("it names a file outside its topic")
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ArchiveError(
                f"commit {path} is damaged: {type(error).__name__}: {error}; put it back from a copy, or delete it and "
                "run `inspection archive`, which archives anew what the topic still has"
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
    """Refuse what a later version wrote.

    Raises
    ------
    ArchiveError
        If it did.
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
    """Which commit of a partition answers for which offsets: each offset that one has, once, in order.

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
