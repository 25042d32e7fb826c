"""Reader of an archive: yields the messages of given offsets, from only the files that have them, in bounded memory."""

from __future__ import annotations

import heapq
import zlib
from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from replay.archive.commits import DataFile, Piece
from replay.archive.container import SEGMENT_BYTES, messages
from replay.archive.errors import ArchiveError
from replay.archive.index import Index
from replay.archive.store import ArchiveStore
from replay.avro_file import MAX_BLOCK_BYTES
from schemas.codec import Codec
from transport.offset_ranges import OffsetRanges, intersect, merged, total, within
from transport.stored_message import R, StoredMessage
from transport.topic_ranges import OnProgress, TimeRange

_TELL_EVERY = 100


@dataclass(frozen=True, slots=True)
class _Wanted:
    """File with the offsets to read from it; ``begin`` is the first offset that it can yield."""

    file: DataFile
    spans: tuple[tuple[int, int], ...]

    @property
    def begin(self) -> int:
        return max(self.file.first_offset, self.spans[0][0])


class Archive:
    """Archive written by a sink, with the interface that `replay.past.source.Source` needs.

    The commits of a topic are read on first use, and kept: the object does not see what is archived later.

    Parameters
    ----------
    store
        Store of the archive; `open` takes a URI.
    codec
        Decodes again the values that could not be decoded for the archive.

    Raises
    ------
    ArchiveError
        If there is no archive, if it is of a later format, or if it cannot be read.

    Examples
    --------
    >>> Archive.open("memory://nothing-here")
    Traceback (most recent call last):
    ...
    replay.archive.errors.ArchiveError: no archive at memory://nothing-here: archive.json is missing; \
`inspection archive` makes it
    """

    def __init__(self, store: ArchiveStore, *, codec: Codec | None = None) -> None:
        self._store = store
        self._index = Index(store)
        self._codec = codec or Codec()
        self.uri = store.uri
        #: Number of data files opened so far.
        self.files_opened = 0

    @classmethod
    def open(cls, uri: str, *, codec: Codec | None = None, **options: Any) -> Archive:
        """Open the archive at an fsspec URI: a directory, ``s3://bucket/archive``; options are for the file system.

        Raises
        ------
        ArchiveError
            See the class.
        SettingsError
            If there is no such file system, or its package is not installed.
        """
        return cls(ArchiveStore(uri, **options), codec=codec)

    def topics(self) -> list[str]:
        """Return the names of the topics of which messages are archived."""
        return self._index.topics()

    def topic_id(self, topic: str) -> str | None:
        """Return Kafka's id of the archived topic; None if nothing of it is archived."""
        return self._index.topic_id(topic)

    def covered(self, topic: str) -> OffsetRanges:
        """Return the offsets of a topic that are settled here, by partition; offsets without a message are included.

        Raises
        ------
        ArchiveError
            If a commit is damaged. The other methods raise it too.
        """
        found = self._index.pieces(topic)
        return {number: merged((piece.begin, piece.end) for piece in some) for number, some in found.items()}

    def candidates(self, topic: str, within: TimeRange | None = None) -> OffsetRanges:
        """Return spans of covered offsets that include all messages of a time range. The method opens no file."""
        within = within or TimeRange()
        spans: dict[int, list[tuple[int, int]]] = {}
        for number, some in self._index.pieces(topic).items():
            for piece in some:
                for file in piece.commit.files:
                    after = within.to_us is not None and file.from_us >= within.to_us
                    before = within.from_us is not None and file.to_us < within.from_us
                    begin, end = max(piece.begin, file.first_offset), min(piece.end, file.last_offset + 1)
                    if begin < end and not before and not after:
                        spans.setdefault(number, []).append((begin, end))
        return {number: merged(some) for number, some in spans.items()}

    def read(
        self,
        record: type[R],
        topic: str,
        ranges: OffsetRanges,
        *,
        on_progress: OnProgress = lambda done, total: None,
        cameras: Collection[str] = (),
        lots: Collection[str] = (),
    ) -> Iterator[StoredMessage[R]]:
        """Yield the messages of these offsets, each partition in order, partitions interleaved by their timestamps.

        Parameters
        ----------
        on_progress
            Called with the number of passed offsets, and their total number.
        cameras, lots
            If not empty, files without a record of these are not opened, so other messages may be left out.

        Raises
        ------
        ArchiveError
            If a file is missing or damaged.
        """
        found = self._index.pieces(topic)
        here = intersect(ranges, self.covered(topic))
        streams = []
        for number, spans in here.items():
            wanted = [
                _Wanted(file, inside)
                for piece in found[number]
                for file in piece.commit.files
                if (inside := _inside(file, piece, spans)) and _may_hold(file, cameras, lots)
            ]
            streams.append(self._merge(wanted, record))
        done = _Passed(here)
        for count, stored in enumerate(heapq.merge(*streams, key=lambda one: one.timestamp_us)):
            done.pass_by(stored.position.partition, stored.position.offset)
            yield stored
            if count % _TELL_EVERY == 0:
                on_progress(done.offsets, done.total)
        on_progress(done.total, done.total)

    def _merge(self, wanted: list[_Wanted], record: type[R]) -> Iterator[StoredMessage[R]]:
        """Merge the files of one partition by offset; each file is opened when its first offset is due."""
        waiting = deque(sorted(wanted, key=lambda one: one.begin))
        opened: list[tuple[int, int, StoredMessage[R], Iterator[StoredMessage[R]]]] = []
        number = 0
        while waiting or opened:
            while waiting and (not opened or waiting[0].begin <= opened[0][0]):
                stream = self._file(waiting.popleft(), record)
                number += 1
                for first in stream:
                    heapq.heappush(opened, (first.position.offset, number, first, stream))
                    break
            if not opened:
                continue
            _, order, stored, stream = opened[0]
            yield stored
            for upcoming in stream:
                heapq.heapreplace(opened, (upcoming.position.offset, order, upcoming, stream))
                break
            else:
                heapq.heappop(opened)

    def _file(self, wanted: _Wanted, record: type[R]) -> Iterator[StoredMessage[R]]:
        """Yield the wanted messages of a file; read only the segments that may contain some."""
        file = wanted.file
        firsts = [segment.first_offset for segment in file.segments]
        chosen: set[int] = set()
        for begin, end in wanted.spans:
            chosen.update(range(max(0, bisect_right(firsts, begin) - 1), bisect_right(firsts, end - 1)))
        header = b""
        for number in sorted(chosen):
            if not header:
                self.files_opened += 1
                header = read_header(self._store, file)
            for stored in read_segment(self._store, file, header, number, record, self._codec):
                if within(wanted.spans, stored.position.offset, stored.position.offset + 1):
                    yield stored


#: Maximum bytes of a segment or a header read at once: a full segment and one block of the largest size.
MAX_PIECE_BYTES = SEGMENT_BYTES + 2 * MAX_BLOCK_BYTES


def segment_bounds(file: DataFile, number: int) -> tuple[int, int]:
    """Return the position of the first byte of a segment, and of the first byte after it."""
    following = number + 1 < len(file.segments)
    return file.segments[number].position, file.segments[number + 1].position if following else file.size_bytes


def read_header(store: ArchiveStore, file: DataFile) -> bytes:
    """Read the bytes before the first segment.

    Raises
    ------
    ArchiveError
        If the file is missing, or damaged there.
    """
    return read_checked(store, file, 0, file.segments[0].position, file.header_crc32)


def read_segment(
    store: ArchiveStore, file: DataFile, header: bytes, number: int, record: type[R], codec: Codec
) -> Iterator[StoredMessage[R]]:
    """Yield the messages of a segment.

    Raises
    ------
    ArchiveError
        If the file is missing, or damaged there.
    """
    data = read_checked(store, file, *segment_bounds(file, number), file.segments[number].crc32)
    try:
        yield from messages(header, data, record, codec)
    except ValueError as error:
        raise damaged(store, file, f"its records cannot be read: {error}") from error


def read_checked(store: ArchiveStore, file: DataFile, begin: int, end: int, crc32: int) -> bytes:
    """Read bytes of a file, and check them against a checksum.

    Raises
    ------
    ArchiveError
        If the file is missing, or damaged there.
    """
    if end - begin > MAX_PIECE_BYTES:
        raise damaged(store, file, f"its commit has a piece of {end - begin} bytes, more than {MAX_PIECE_BYTES}")
    try:
        data = store.read(file.path, begin, end - begin)
    except FileNotFoundError as error:
        raise damaged(store, file, "it is missing") from error
    if len(data) != end - begin:
        raise damaged(store, file, f"it ends within {begin + len(data)} of {file.size_bytes} bytes")
    if zlib.crc32(data) != crc32:
        raise damaged(store, file, f"its bytes {begin} to {end - 1} are not those that were written")
    return data


def damaged(store: ArchiveStore, file: DataFile, why: str) -> ArchiveError:
    """Return an error that names the damaged file."""
    return ArchiveError(
        f"archive {store.uri}: {file.path} is damaged: {why}; put it back from a copy; "
        "`inspection archive verify` says what else is damaged"
    )


def _inside(file: DataFile, piece: Piece, spans: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    begin, end = max(piece.begin, file.first_offset), min(piece.end, file.last_offset + 1)
    if begin >= end:
        return ()
    return within(spans, begin, end)


def _may_hold(file: DataFile, cameras: Collection[str], lots: Collection[str]) -> bool:
    if cameras and file.camera is not None and file.camera not in cameras:
        return False
    return not lots or file.lots is None or not set(lots).isdisjoint(file.lots)


class _Passed:
    """Count of the offsets that have been passed."""

    def __init__(self, ranges: OffsetRanges) -> None:
        self._left = {number: deque(spans) for number, spans in ranges.items()}
        self.total = total(ranges)
        self.offsets = 0

    def pass_by(self, partition: int, offset: int) -> None:
        left = self._left[partition]
        while left and left[0][0] <= offset:
            begin, end = left.popleft()
            self.offsets += min(offset + 1, end) - begin
            if offset + 1 < end:
                left.appendleft((offset + 1, end))
