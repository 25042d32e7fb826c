"""Messages on their way into an archive: batches of all partitions, and the steps that make them archived.

1. its messages are read and encoded, in memory;
2. Kafka is asked whether the topic is still the one that was to be read: after a deletion its offsets begin anew;
3. the data files are written, each as a whole;
4. the commit that names files and offsets is written, as a whole.

Killed before 4, the next run does it again, and the files without a commit are leftovers (`replay.archive.verify`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from replay.archive.batch import Batch
from replay.archive.errors import ArchiveError
from replay.archive.follower import Partition
from replay.archive.index import load_commits
from replay.archive.metrics import ArchiveMetrics
from replay.archive.rollup import FROM_COMMITS, roll_up
from replay.archive.store import Store
from replay.offsets import merged
from replay.source import stored
from replay.stored import Stored
from replay.topic_reader import TopicMessage, read_ranges, watermarks
from schemas.held import held_back, held_line
from schemas.image_store import ImageStore, ImageStoreError
from schemas.records import Frame
from schemas.settings import KafkaSettings
from schemas.topic_identity import TopicIdentities, TopicIdentity
from schemas.topics import DEAD_LETTERS, DECISIONS, DRIFT, FRAMES, LABELS, Topic
from schemas.wire import Codec

_log = logging.getLogger(__name__)

#: What is archived of a line: everything but what can be worked out anew.
ARCHIVED: tuple[Topic, ...] = (FRAMES, DECISIONS, LABELS, DRIFT, DEAD_LETTERS)


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """How a sink works.

    Parameters
    ----------
    topics
        What is archived.
    memory_bytes
        Of messages that wait for a commit, in all; then they are written.
    every_s
        Seconds after which they are written in any case. Short: many small files.
    """

    topics: tuple[Topic, ...] = ARCHIVED
    memory_bytes: int = 64 * 1024 * 1024
    every_s: float = 300.0


@dataclass(slots=True)
class SinkReport:
    """What a run did."""

    messages: int = 0
    commits: int = 0
    files: int = 0
    bytes: int = 0
    #: Messages that are no such record; kept as they came.
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
    kafka, store, options, image_store, metrics
        As for `replay.archive.sink.ArchiveSink`.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        store: Store,
        options: SinkOptions,
        image_store: ImageStore | None,
        metrics: ArchiveMetrics,
    ) -> None:
        self._kafka = kafka
        self._store = store
        self._options = options
        self._images = image_store
        self._metrics = metrics
        self._records = {topic.name(kafka.prefix): topic.record for topic in options.topics}
        self._identities = TopicIdentities(kafka.bootstrap_servers)
        self._known: dict[str, TopicIdentity] = {}
        self._codec = Codec.from_settings(kafka)
        self._rounds = 0
        self._held: dict[Partition, int] = {}
        #: What has been read since its last commit, by partition.
        self.batches: dict[Partition, Batch] = {}
        self.report = SinkReport()

    def begin(self) -> dict[Partition, int]:
        """Make or check the archive, and say up to where each partition is settled now."""
        if not self._store.is_archive():
            self._store.make_archive()
        self._known = self._identities.of(self._records)
        ends: dict[Partition, int] = {}
        for topic, identity in self._known.items():
            commits = load_commits(self._store, topic)
            for other in {commit.topic_id for commit in commits} - {identity.topic_id}:
                raise self._other_topic(topic, other, identity.topic_id)
            roll_up(self._store, commits)
            self._say_held(topic, identity)
            for number, (low, high) in watermarks(self._kafka.bootstrap_servers, topic).items():
                covered = merged((one.begin, one.end) for one in commits if one.partition == number)
                partition = Partition(topic, number)
                self._fill(partition, covered, low)
                end = covered[-1][1] if covered else None
                if end is not None and end > high:
                    raise ArchiveError(
                        f"archive {self._store.uri} has {topic}-{number} up to offset {end}, but the topic ends at "
                        f"{high}: the broker has lost what was written; archive to another URI"
                    )
                self.batches[partition] = self._batch_from(partition, end, low)
                ends[partition] = max(high, self.batches[partition].begin)
        return ends

    def add(self, message: TopicMessage) -> None:
        """Take a message in; one that was taken in before is left out."""
        batch = self.batches[Partition(message.topic, message.partition)]
        if message.offset >= batch.end:
            self._add(batch, message)

    def write_all(self) -> None:
        """Archive what waits.

        Raises
        ------
        ArchiveError, BrokerUnavailable, TopicMissing
            If the archive does not take it, or the topics cannot be checked. What was not archived waits on.
        """
        self.check()
        for partition in list(self.batches):
            if not self.batches[partition].is_empty:
                self.batches[partition] = self._write(self.batches[partition])

    def check(self) -> dict[str, TopicIdentity]:
        """The topics as they are now.

        Raises
        ------
        ArchiveError, BrokerUnavailable, TopicMissing
            If they are not those that were read, or cannot be asked.
        """
        found = self._identities.of(self._records)
        for topic, identity in found.items():
            if identity.topic_id != self._known[topic].topic_id:
                raise self._other_topic(topic, self._known[topic].topic_id, identity.topic_id)
        return found

    def move_on(self, partition: Partition) -> int:
        """What was to be read is not there any more: write what waits; return where the topic begins now."""
        self.check()
        low, high = watermarks(self._kafka.bootstrap_servers, partition.topic)[partition.number]
        batch = self.batches[partition]
        if batch.end > high:
            raise ArchiveError(f"{partition.topic}-{partition.number} ends at {high}, before what was read of it")
        if not batch.is_empty:
            batch = self.batches[partition] = self._write(batch)
        if batch.end < low:  # else another try has been here
            self.batches[partition] = self._batch_from(partition, batch.end, low)
            if batch.deleted_from is not None:
                self.batches[partition].deleted_from = batch.deleted_from
        return self.batches[partition].end

    def added(self) -> list[Partition]:
        """Check the topics, and return the partitions that they have got since the last time; they begin at 0.

        Raises
        ------
        ArchiveError, BrokerUnavailable, TopicMissing
            If they are others, or cannot be asked.
        """
        new = []
        for topic, identity in self.check().items():
            self._say_held(topic, identity)
            new += [found for number in identity.partitions if (found := Partition(topic, number)) not in self.batches]
        self.batches |= {partition: self._batch_from(partition, None, 0) for partition in new}
        return new

    def _say_held(self, topic: str, identity: TopicIdentity) -> None:
        """Log each open transaction once."""
        for number, offset in held_back(self._kafka.bootstrap_servers, topic, identity.partitions).items():
            if self._held.get(Partition(topic, number)) != offset:
                _log.warning("%s", held_line(topic, number, offset))
            self._held[Partition(topic, number)] = offset

    def waiting_bytes(self) -> int:
        """Bytes of what waits for a commit."""
        return sum(batch.size_bytes for batch in self.batches.values())

    def tidy(self) -> None:
        """Now and then, put small commits together. What is in the way of it is in the way of nothing else."""
        self._rounds += 1
        if self._rounds % FROM_COMMITS:
            return
        try:
            for topic in self._records:
                roll_up(self._store, load_commits(self._store, topic))
        except ArchiveError as error:
            _log.warning("small commits stay as they are for now: %s", error)

    def _batch_from(self, partition: Partition, end: int | None, low: int) -> Batch:
        """A batch where the archive ends, or where the topic begins when it has deleted what comes next."""
        begin = low if end is None else max(end, low)
        deleted_from = end if end is not None and end < low else None
        if deleted_from is not None:
            self.report.deleted += low - deleted_from
            _log.warning("%s-%d: offsets %d to %d were deleted before they were archived", *partition, end, low - 1)
        identity = self._known[partition.topic]
        record = self._records[partition.topic]
        return Batch(partition.topic, identity.topic_id, partition.number, record, begin, deleted_from)

    def _fill(self, partition: Partition, covered: tuple[tuple[int, int], ...], low: int) -> None:
        """Archive what commits have lost and the topic still has."""
        for (_, end), (begin, _) in pairwise(covered):
            if max(end, low) >= begin:
                continue
            _log.warning("%s-%d: offsets %d to %d are archived anew", *partition, max(end, low), begin - 1)
            batch = self._batch_from(partition, max(end, low), 0)
            span = {partition.number: ((batch.begin, begin),)}
            for message in read_ranges(self._kafka.bootstrap_servers, partition.topic, span):
                self._add(batch, message)
                if batch.size_bytes >= self._options.memory_bytes:
                    self.check()
                    batch = self._write(batch)
            batch.settle(begin)
            self.check()
            self._write(batch)

    def _add(self, batch: Batch, message: TopicMessage) -> None:
        found: Stored[Any] = stored(message, batch.record, self._codec)
        size = len(message.value or b"") + len(message.key or b"") + sum(map(len, message.headers.values()))
        record = found.record
        if record is None:
            self.report.unreadable += 1
        elif isinstance(record, Frame) and record.reference is not None:
            found = replace(found, record=self._with_image(found, record))
            size += record.reference.size_bytes if found.record.image is not None else 0  # type: ignore[union-attr]
        batch.add(found, size)

    def _with_image(self, found: Stored[Any], frame: Frame) -> Frame:
        """The frame with its image from the store, so that it outlives the store's sweep; as it is where that fails."""
        assert frame.reference is not None
        try:
            if self._images is None:
                raise ImageStoreError("image-store-unavailable", "no image store was named")
            return replace(frame, image=self._images.get(frame.reference, frame.sha256), reference=None)
        except ImageStoreError as error:
            if not self.report.references:
                _log.warning("%s: archived without its image, as others may be: %s", found.place, error)
            self.report.references += 1
            self._metrics.reference_kept()
            return frame

    def _write(self, batch: Batch) -> Batch:
        """Archive a batch of topics that were checked, and return the next one."""
        commit = batch.write(self._store)
        self._store.write(commit.path, commit.to_bytes())
        self.report.messages += batch.messages
        self.report.commits += 1
        self.report.files += len(commit.files)
        self.report.bytes += sum(file.size_bytes for file in commit.files)
        self._metrics.committed(commit)
        return Batch(batch.topic, batch.topic_id, batch.partition, batch.record, batch.end)

    def _other_topic(self, topic: str, archived: str, present: str) -> OtherTopic:
        return OtherTopic(
            f"archive {self._store.uri} is of another topic {topic} ({archived}) than the one that is there now "
            f"({present}): it was deleted and made anew, its offsets begin again; archive to another URI"
        )


class OtherTopic(ArchiveError):
    """The topic was made anew: trying again is no help."""
