"""Collector of messages for an archive: it keeps a batch for each partition, and commits the batches.

1. The collector reads and encodes messages, in memory.
2. It asks Kafka if the topic is still the same one; the offsets of a re-created topic start from 0.
3. It writes the data files, each in one piece.
4. It writes the commit that names files and offsets, in one piece.
5. It writes the span that shows if the first or last commits are missing (`replay.archive.span`).

If the process is killed before step 4, the next run repeats the work. Files without a commit are leftovers
(`replay.archive.verify`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from replay.archive.batch import ArchiveBatch
from replay.archive.commits import Commit
from replay.archive.errors import ArchiveError
from replay.archive.follower import Partition
from replay.archive.index import load_commits
from replay.archive.layout import ARCHIVE_FILE, span_name
from replay.archive.metrics import ArchiveMetrics
from replay.archive.rollup import FROM_COMMITS, roll_up
from replay.archive.span import ArchivedSpan, load_spans, span_of
from replay.archive.store import ArchiveStore
from replay.past.source import stored
from schemas.codec import Codec
from schemas.records import Frame
from schemas.settings import KafkaSettings
from schemas.topics import DEAD_LETTERS, DECISIONS, DRIFT, FRAMES, LABELS, Topic
from transport.batches import UnreadableBatch
from transport.image_store import ImageStore, ImageStoreError
from transport.offset_ranges import merged
from transport.open_transactions import first_open_offsets, open_transaction_line
from transport.range_reader import read_ranges
from transport.stored_message import StoredMessage
from transport.topic_identity import TopicIdentities, TopicIdentity
from transport.topic_ranges import TopicMessage, watermarks

_log = logging.getLogger(__name__)

#: Archived topics of a line: all topics except those that can be computed again.
ARCHIVED: tuple[Topic, ...] = (FRAMES, DECISIONS, LABELS, DRIFT, DEAD_LETTERS)


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """Options of a sink.

    Parameters
    ----------
    topics
        Topics to archive.
    memory_bytes
        Maximum total size in bytes of messages that wait for a commit; above it the sink writes them.
    every_s
        Seconds after which the sink writes the waiting messages in any case. A short time makes many small files.
    """

    topics: tuple[Topic, ...] = ARCHIVED
    memory_bytes: int = 64 * 1024 * 1024
    every_s: float = 300.0


@dataclass(slots=True)
class SinkReport:
    """Counts of a run."""

    messages: int = 0
    commits: int = 0
    files: int = 0
    bytes: int = 0
    #: Messages that are not a valid record; they are kept as they came.
    unreadable: int = 0
    #: Frames whose image could not be fetched from the image store.
    references: int = 0
    #: Offsets that the topic had deleted before they were archived.
    deleted: int = 0
    #: Number of offsets in batches that no client can read, which are not archived.
    undecodable: int = 0


class Collector:
    """Batches of all partitions of some topics.

    Parameters
    ----------
    kafka, store, options, image_store, metrics, on_unreadable
        See `replay.archive.sink.ArchiveSink`.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        store: ArchiveStore,
        options: SinkOptions,
        image_store: ImageStore | None,
        metrics: ArchiveMetrics,
        on_unreadable: Callable[[UnreadableBatch], object],
    ) -> None:
        self._kafka = kafka
        self._store = store
        self._options = options
        self._images = image_store
        self._metrics = metrics
        self._on_unreadable = on_unreadable
        self._records = {topic.name(kafka.prefix): topic.record for topic in options.topics}
        self._identities = TopicIdentities(kafka)
        self._known: dict[str, TopicIdentity] = {}
        self._codec = Codec.from_settings(kafka)
        self._rounds = 0
        self._reported_offsets: dict[Partition, int] = {}
        self._spans: dict[Partition, ArchivedSpan] = {}
        #: Messages read since the last commit, by partition.
        self.batches: dict[Partition, ArchiveBatch] = {}
        self.report = SinkReport()

    def begin(self) -> dict[Partition, int]:
        """Create or check the archive; return the present end of each partition."""
        if not self._store.is_archive():
            self._store.make_archive()
        self._known = self._identities.of(self._records)
        ends: dict[Partition, int] = {}
        for topic, identity in self._known.items():
            commits = load_commits(self._store, topic)
            for other in {commit.topic_id for commit in commits} - {identity.topic_id}:
                raise self._other_topic(topic, other, identity.topic_id)
            roll_up(self._store, commits)
            self._log_open_transactions(topic, identity)
            self._load_spans(topic, identity, commits)
            for number, (low, high) in watermarks(self._kafka, topic).items():
                covered = merged((one.begin, one.end) for one in commits if one.partition == number)
                partition = Partition(topic, number)
                self._fill(partition, covered, low)
                end = self._end_of(partition, covered)
                if end is not None and end > high:
                    raise ArchiveError(
                        f"archive {self._store.uri} has {topic}-{number} up to offset {end}, but the topic ends at "
                        f"{high}: the broker has lost what was written; archive to another URI"
                    )
                self.batches[partition] = self._batch_from(partition, end, low)
                ends[partition] = max(high, self.batches[partition].begin)
        return ends

    def add(self, message: TopicMessage) -> None:
        """Add a message; a message that was added before is ignored."""
        batch = self.batches[Partition(message.topic, message.partition)]
        if message.offset >= batch.end:
            self._add(batch, message)

    def leave_out(self, batch: UnreadableBatch) -> None:
        """Settle the offsets of a batch that no client reads: it has no message for the archive, and is counted."""
        self.batches[Partition(batch.topic, batch.partition)].settle(batch.following)
        self._skipped(batch)

    def write_all(self) -> None:
        """Archive all waiting messages.

        Raises
        ------
        ArchiveError, BrokerUnavailable, TopicMissing
            If the store does not accept them, or the topics cannot be checked. Messages that are not archived keep
            waiting.
        """
        self.check()
        self._check_archive()
        for partition in list(self.batches):
            if not self.batches[partition].is_empty:
                self.batches[partition] = self._write(self.batches[partition])

    def check(self) -> dict[str, TopicIdentity]:
        """Check that the topics are the ones that were read, and return their current identities.

        Raises
        ------
        ArchiveError, BrokerUnavailable, TopicMissing
            If a topic is not the one that was read, or the broker cannot be asked.
        """
        found = self._identities.of(self._records)
        for topic, identity in found.items():
            if identity.topic_id != self._known[topic].topic_id:
                raise self._other_topic(topic, self._known[topic].topic_id, identity.topic_id)
        return found

    def _check_archive(self) -> None:
        """Refuse to write into what lies there instead of the archive, as the empty folder of a volume that is gone."""
        if not self._store.is_archive():
            raise ArchiveError(
                f"archive {self._store.uri}: {ARCHIVE_FILE} is gone: mount its volume again or bring the folder back; "
                "to begin a new archive there, restart `inspection archive`"
            )

    def move_on(self, partition: Partition) -> int:
        """Write the waiting messages after the next offset was deleted; return the offset at which to read on."""
        self.check()
        self._check_archive()
        low, high = watermarks(self._kafka, partition.topic)[partition.number]
        batch = self.batches[partition]
        if batch.end > high:
            raise ArchiveError(f"{partition.topic}-{partition.number} ends at {high}, before what was read of it")
        if not batch.is_empty:
            batch = self.batches[partition] = self._write(batch)
        if batch.end < low:  # otherwise an earlier attempt has already moved on
            self.batches[partition] = self._batch_from(partition, batch.end, low)
            if batch.deleted_from is not None:
                self.batches[partition].deleted_from = batch.deleted_from
        return self.batches[partition].end

    def added(self) -> list[Partition]:
        """Check the topics, and return the partitions added since the last check; they begin at 0.

        Raises
        ------
        ArchiveError, BrokerUnavailable, TopicMissing
            If a topic is not the one that was read, or the broker cannot be asked.
        """
        new = []
        for topic, identity in self.check().items():
            self._log_open_transactions(topic, identity)
            new += [found for number in identity.partitions if (found := Partition(topic, number)) not in self.batches]
        self.batches |= {partition: self._batch_from(partition, None, 0) for partition in new}
        return new

    def _log_open_transactions(self, topic: str, identity: TopicIdentity) -> None:
        """Log each open transaction once."""
        for number, offset in first_open_offsets(self._kafka, topic, identity.partitions).items():
            if self._reported_offsets.get(Partition(topic, number)) != offset:
                _log.warning("%s", open_transaction_line(topic, number, offset))
            self._reported_offsets[Partition(topic, number)] = offset

    def waiting_bytes(self) -> int:
        """Return the number of bytes that wait for a commit."""
        return sum(batch.size_bytes for batch in self.batches.values())

    def tidy(self) -> None:
        """Merge small commits once in a while. A failure is only logged: nothing else depends on this."""
        self._rounds += 1
        if self._rounds % FROM_COMMITS:
            return
        try:
            for topic in self._records:
                roll_up(self._store, load_commits(self._store, topic))
        except ArchiveError as error:
            _log.warning("small commits stay as they are for now: %s", error)

    def _load_spans(self, topic: str, identity: TopicIdentity, commits: Sequence[Commit]) -> None:
        paths = [span_name(topic, number) for number in identity.partitions]
        found = load_spans(self._store, paths, lambda error: _log.warning("%s", error))
        before = {span.partition: span for span in found if span.topic_id == identity.topic_id}
        for number in identity.partitions:
            span = span_of((one for one in commits if one.partition == number), before.get(number))
            if span is not None:
                self._spans[Partition(topic, number)] = span

    def _end_of(self, partition: Partition, covered: tuple[tuple[int, int], ...]) -> int | None:
        """Return the offset from which on a partition is archived; None from its start on."""
        span = self._spans.get(partition)
        if span is None:
            return None
        end = covered[-1][1] if covered else span.begin
        if end < span.end:
            _log.warning("%s-%d: offsets %d to %d are archived again: a commit is lost", *partition, end, span.end - 1)
        return end

    def _batch_from(self, partition: Partition, end: int | None, low: int) -> ArchiveBatch:
        """Return a batch from the archive's end on, or from the topic's start if offsets between were deleted."""
        begin = low if end is None else max(end, low)
        # Offsets of a commit that was lost were archived once.
        archived = end if end is None or partition not in self._spans else max(end, self._spans[partition].end)
        deleted_from = archived if archived is not None and archived < low else None
        if deleted_from is not None:
            self.report.deleted += low - deleted_from
            _log.warning(
                "%s-%d: offsets %d to %d were deleted before they were archived", *partition, deleted_from, low - 1
            )
        identity = self._known[partition.topic]
        record = self._records[partition.topic]
        return ArchiveBatch(partition.topic, identity.topic_id, partition.number, record, begin, deleted_from)

    def _fill(self, partition: Partition, covered: tuple[tuple[int, int], ...], low: int) -> None:
        """Archive offsets that no commit covers any more, if the topic still has them."""
        for (_, end), (begin, _) in pairwise(covered):
            if max(end, low) >= begin:
                continue
            _log.warning("%s-%d: offsets %d to %d are archived again", *partition, max(end, low), begin - 1)
            batch = self._batch_from(partition, max(end, low), 0)
            span = {partition.number: ((batch.begin, begin),)}
            for message in read_ranges(self._kafka, partition.topic, span, on_unreadable=self._skipped):
                self._add(batch, message)
                if batch.size_bytes >= self._options.memory_bytes:
                    self.check()
                    batch = self._write(batch)
            batch.settle(begin)
            self.check()
            self._write(batch)

    def _skipped(self, batch: UnreadableBatch) -> None:
        self.report.undecodable += batch.following - batch.first
        self._on_unreadable(batch)

    def _add(self, batch: ArchiveBatch, message: TopicMessage) -> None:
        found: StoredMessage[Any] = stored(message, batch.record, self._codec)
        size = len(message.value or b"") + len(message.key or b"") + sum(map(len, message.headers.values()))
        record = found.record
        if record is None:
            self.report.unreadable += 1
        elif isinstance(record, Frame) and record.reference is not None:
            found = replace(found, record=self._with_image(found, record))
            size += record.reference.size_bytes if found.record.image is not None else 0  # type: ignore[union-attr]
        batch.add(found, size)

    def _with_image(self, found: StoredMessage[Any], frame: Frame) -> Frame:
        """Return the frame with its image, which outlives the store's sweep then; or unchanged if the fetch fails."""
        assert frame.reference is not None
        try:
            if self._images is None:
                raise ImageStoreError("image-store-unavailable", "no image store was named")
            return replace(frame, image=self._images.get(frame.reference, frame.sha256), reference=None)
        except ImageStoreError as error:
            if not self.report.references:
                _log.warning("%s: archived without its image, as others may be: %s", found.position, error)
            self.report.references += 1
            self._metrics.reference_kept()
            return frame

    def _write(self, batch: ArchiveBatch) -> ArchiveBatch:
        """Archive a batch, and return the next one. The caller has checked the topics."""
        commit = batch.write(self._store)
        self._store.write(commit.path, commit.to_bytes())
        partition = Partition(batch.topic, batch.partition)
        span = span_of([commit], self._spans.get(partition))
        assert span is not None
        self._store.write(span.path, span.to_bytes())
        self._spans[partition] = span
        self.report.messages += batch.messages
        self.report.commits += 1
        self.report.files += len(commit.files)
        self.report.bytes += sum(file.size_bytes for file in commit.files)
        self._metrics.committed(commit)
        return ArchiveBatch(batch.topic, batch.topic_id, batch.partition, batch.record, batch.end)

    def _other_topic(self, topic: str, archived: str, present: str) -> OtherTopic:
        return OtherTopic(
            f"archive {self._store.uri} is of another topic {topic} ({archived}) than the one that is there now "
            f"({present}): it was deleted and re-created, and its offsets start from 0; archive to another URI"
        )


class OtherTopic(ArchiveError):
    """The topic was deleted and re-created; retrying cannot succeed."""
