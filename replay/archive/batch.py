"""Batch: messages of one partition that were read since its last commit, and that wait for files and a commit."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import Any

from replay.archive.commits import Commit, DataFile
from replay.archive.container import ContainerWriter, has_sayable_times
from replay.archive.layout import camera_folder, data_name, date_of, in_calendar
from replay.archive.store import ArchiveStore
from schemas.codec import encode
from schemas.records import Decision, DriftEvent, Frame, Label
from transport.stored_message import StoredMessage

#: Maximum number of files of one commit; further cameras (such as one with a new name in each frame) share one file.
MAX_FILES = 64
#: Maximum number of lots that the index names for a file.
_MAX_LOTS = 16
#: Approximate memory of a message in addition to its bytes.
_OVERHEAD_BYTES = 512


class ArchiveBatch:
    """Messages of a partition from an offset on; the batch encodes each at once, and keeps only the encoded form.

    Parameters
    ----------
    topic, topic_id, partition, record
        Origin of the messages, and the class of their records.
    begin
        First offset that is not archived yet.
    deleted_from
        See `Commit`.
    """

    def __init__(
        self, topic: str, topic_id: str, partition: int, record: type, begin: int, deleted_from: int | None = None
    ) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.partition = partition
        self.record = record
        self.begin = begin
        self.deleted_from = deleted_from
        #: First offset that is not settled.
        self.end = begin
        self.size_bytes = 0
        self.messages = 0
        self._files: dict[tuple[str, str | None, str | None], _OpenFile] = {}

    @property
    def is_empty(self) -> bool:
        """True if no offset has been settled."""
        return self.end == self.begin

    def add(self, stored: StoredMessage[Any], size_bytes: int) -> None:
        """Add a message of ``size_bytes`` bytes; offsets before it without a message are settled."""
        record = stored.record
        if record is not None and not has_sayable_times(record):
            stored = replace(stored, record=None, value=encode(record), problem="a time that no calendar has")
        path = self._path_of(stored)
        if path not in self._files:
            if len(self._files) >= MAX_FILES:
                path = (f"{self.topic}/mixed", None, None)
            if path not in self._files:
                self._files[path] = _OpenFile(self, *path, first=stored.position.offset)
        self._files[path].add(stored)
        self.settle(stored.position.offset + 1)
        self.messages += 1
        self.size_bytes += _OVERHEAD_BYTES + size_bytes

    def settle(self, offset: int) -> None:
        """Settle all offsets before this one: no further message will come there."""
        self.end = max(self.end, offset)

    def write(self, store: ArchiveStore) -> Commit:
        """Write the data files and return the commit, which the caller has still to write. Idempotent.

        Raises
        ------
        ArchiveError
            If the store does not accept the files.
        """
        files = []
        for file in self._files.values():
            data, described = file.finish()
            store.write(described.path, data)
            files.append(described)
        return Commit(
            topic=self.topic,
            topic_id=self.topic_id,
            partition=self.partition,
            begin=self.begin,
            end=self.end,
            files=tuple(sorted(files, key=lambda file: (file.first_offset, file.path))),
            deleted_from=self.deleted_from,
            committed_at_us=time.time_ns() // 1000,
        )

    def _path_of(self, stored: StoredMessage[Any]) -> tuple[str, str | None, str | None]:
        """Return the folder, the line and the camera."""
        record = stored.record
        if record is None:
            return f"{self.topic}/unreadable/date={date_of(stored.timestamp_us)}", None, None
        if isinstance(record, Frame | Decision | Label | DriftEvent):
            return camera_folder(self.topic, record.line, record.key, stored.timestamp_us), record.line, record.key
        return f"{self.topic}/date={date_of(stored.timestamp_us)}", None, None


class _OpenFile:
    """Data file under construction."""

    def __init__(self, batch: ArchiveBatch, folder: str, line: str | None, camera: str | None, *, first: int) -> None:
        # No reference to the batch: a cycle would keep both, and their bytes, until the garbage collector runs.
        self._partition, self._folder, self._line, self._camera, self._first = (
            batch.partition, folder, line, camera, first,
        )  # fmt: skip
        marker = hashlib.sha256(f"{batch.topic}/{batch.partition}/{folder}/{first}".encode()).digest()[:16]
        self._container = ContainerWriter(batch.record, marker)
        self._last = first
        self._records = self._references = self._unreadable = 0
        self._times: list[int] = []
        self._captured: list[int] = []
        self._lots: set[str] = set()

    def add(self, stored: StoredMessage[Any]) -> None:
        self._container.add(stored)
        record = stored.record
        self._last = stored.position.offset
        self._records += 1
        # The index states the time that the file has.
        self._times = _span(self._times, in_calendar(stored.timestamp_us))
        if (captured_at_us := getattr(record, "captured_at_us", None)) is not None:
            self._captured = _span(self._captured, captured_at_us)
        if (lot := getattr(record, "lot", None)) is not None and len(self._lots) <= _MAX_LOTS:
            self._lots.add(lot)
        self._references += isinstance(record, Frame) and record.reference is not None
        self._unreadable += record is None

    def finish(self) -> tuple[bytes, DataFile]:
        data, header_crc32, segments = self._container.finish()
        sha256 = hashlib.sha256(data).hexdigest()
        captured: list[int] | list[None] = self._captured or [None, None]
        knows_lots = self._camera is not None and len(self._lots) <= _MAX_LOTS
        return data, DataFile(
            path=data_name(self._folder, self._partition, self._first, self._last + 1, sha256),
            size_bytes=len(data),
            sha256=sha256,
            records=self._records,
            first_offset=self._first,
            last_offset=self._last,
            from_us=self._times[0],
            to_us=self._times[1],
            captured_from_us=captured[0],
            captured_to_us=captured[1],
            line=self._line,
            camera=self._camera,
            lots=tuple(sorted(self._lots)) if knows_lots else None,
            references=self._references,
            unreadable=self._unreadable,
            header_crc32=header_crc32,
            segments=segments,
        )


def _span(span: list[int], value: int) -> list[int]:
    return [min(span[0], value), max(span[1], value)] if span else [value, value]
