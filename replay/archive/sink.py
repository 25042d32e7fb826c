"""The sink: topics into an archive, exactly once, however often it is killed.

It joins no group and commits nothing to Kafka: where to go on is what the archive's own commits say. A batch of a
partition becomes archived in this order:

1. its messages are read and encoded, in memory;
2. Kafka is asked whether the topic is still the one that was to be read: after a deletion its offsets begin anew;
3. the data files are written, each as a whole;
4. the commit that names files and offsets is written, as a whole.

Killed before 4, the next run does it again, and the files without a commit are leftovers (`replay.archive.verify`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from replay.archive.batch import Batch
from replay.archive.errors import ArchiveError
from replay.archive.follower import Follower, OutOfRange, Partition, Settled, Trouble
from replay.archive.index import load_commits
from replay.archive.metrics import ArchiveMetrics
from replay.archive.rollup import FROM_COMMITS, roll_up
from replay.archive.store import Store
from replay.offsets import merged
from replay.source import stored
from replay.stored import Stored
from replay.topic_identity import TopicIdentities, TopicIdentity
from replay.topic_reader import TopicMessage, read_ranges, watermarks
from schemas.errors import BrokerUnavailable, InspectionError, TopicMissing
from schemas.image_store import ImageStore, ImageStoreError
from schemas.records import Frame
from schemas.settings import KafkaSettings
from schemas.topics import DEAD_LETTERS, DECISIONS, DRIFT, FRAMES, LABELS, Topic
from schemas.wire import Codec

_log = logging.getLogger(__name__)

#: What is archived of a line: everything but what can be worked out anew.
ARCHIVED: tuple[Topic, ...] = (FRAMES, DECISIONS, LABELS, DRIFT, DEAD_LETTERS)
#: With nothing from a broker for so long, what is to end counts as stuck.
_STALLED_S = 30.0
_POLL_S = 0.1
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
_CHECK_S = 10.0


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


class ArchiveSink:
    """Archives the topics of a line.

    Parameters
    ----------
    kafka
        The line.
    store
        Where to.
    image_store
        Images of frames by reference are fetched from it, and archived in their frames; None: only the references are.
    metrics
        Is told what happens.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        store: Store,
        options: SinkOptions | None = None,
        *,
        image_store: ImageStore | None = None,
        metrics: ArchiveMetrics | None = None,
    ) -> None:
        self._kafka = kafka
        self._store = store
        self._options = options or SinkOptions()
        self._images = image_store
        self._metrics = metrics or ArchiveMetrics()
        self._records = {topic.name(kafka.prefix): topic.record for topic in self._options.topics}
        self._identities = TopicIdentities(kafka.bootstrap_servers)
        self._known: dict[str, TopicIdentity] = {}
        self._batches: dict[Partition, Batch] = {}
        self._rounds = 0
        self._codec = Codec.from_settings(kafka)
        self.report = SinkReport()

    def run_once(
        self, stop: threading.Event, on_progress: Callable[[int, int], object] = lambda done, total: None
    ) -> SinkReport:
        """Archive what is there now.

        Raises
        ------
        ArchiveError
            If the archive cannot be written, or is of other topics.
        BrokerUnavailable, TopicMissing
            If a topic cannot be read.
        """
        targets = self._begin()
        total = sum(end - self._batches[partition].begin for partition, end in targets.items())
        began = {partition: batch.begin for partition, batch in self._batches.items()}
        heard_s = time.monotonic()
        follower = Follower(self._kafka.bootstrap_servers)
        try:
            follower.read_from({n: batch.end for n, batch in self._batches.items() if batch.end < targets[n]})
            while not stop.is_set():
                on_progress(sum(min(self._batches[n].end, end) - began[n] for n, end in targets.items()), total)
                if all(self._batches[partition].end >= end for partition, end in targets.items()):
                    break
                anything, gone = self._take(follower, targets)
                for partition in gone:
                    self._move_on(follower, partition)
                if anything:
                    heard_s = time.monotonic()
                if time.monotonic() - heard_s > _STALLED_S:
                    raise BrokerUnavailable(self._kafka.bootstrap_servers, f"nothing came for {_STALLED_S:.0f} s")
                if self._waiting_bytes() >= self._options.memory_bytes:
                    self._write_all()
            self._write_all()
        finally:
            follower.close()
        return self.report

    def follow(self, stop: threading.Event) -> SinkReport:
        """Archive what is there and what comes, until told to stop; then write what waits.

        An archive or a broker that does not answer later on is asked again until it does; nothing is read meanwhile.

        Raises
        ------
        ArchiveError
            If the archive cannot be written at the begin or the end, or is of other topics.
        BrokerUnavailable, TopicMissing
            If a topic cannot be read at the begin, or is gone later.
        """
        self._begin()
        follower = Follower(self._kafka.bootstrap_servers)
        written_s = checked_s = time.monotonic()
        try:
            follower.read_from({partition: batch.end for partition, batch in self._batches.items()})
            while not stop.is_set():
                for partition in self._take(follower)[1]:
                    self._insist(stop, partial(self._move_on, follower, partition))
                now_s = time.monotonic()
                if self._waiting_bytes() >= self._options.memory_bytes or now_s - written_s >= self._options.every_s:
                    self._insist(stop, partial(self._write_all, follower))
                    written_s = checked_s = time.monotonic()
                elif now_s - checked_s >= _CHECK_S:
                    self._look(follower)
                    checked_s = now_s
            self._write_all()
        finally:
            follower.close()
        return self.report

    def _begin(self) -> dict[Partition, int]:
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
                self._batches[partition] = self._batch_from(partition, end, low)
                ends[partition] = max(high, self._batches[partition].begin)
        return ends

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
                    self._check()
                    batch = self._write(batch)
            batch.settle(begin)
            self._check()
            self._write(batch)

    def _take(self, follower: Follower, targets: Mapping[Partition, int] | None = None) -> tuple[bool, list[Partition]]:
        """Take in what has come; with targets no more than up to them.

        Return whether anything has, and the partitions whose next offset is not there any more.
        """
        anything = False
        gone = []
        for event in follower.poll(_POLL_S):
            if isinstance(event, TopicMessage):
                partition = Partition(event.topic, event.partition)
                batch = self._batches[partition]
                if event.offset < batch.end:
                    continue
                if targets is not None and event.offset >= targets[partition]:
                    batch.settle(targets[partition])
                else:
                    self._add(batch, event)
                anything = True
            elif isinstance(event, Settled):
                end = event.offset if targets is None else min(event.offset, targets[event.partition])
                self._batches[event.partition].settle(end)
                anything = True
            elif isinstance(event, OutOfRange):
                gone.append(event.partition)
            elif isinstance(event, Trouble):
                _log.debug("the client says: %s", event.text)
        for partition, batch in self._batches.items():
            self._metrics.lag(partition, follower.lag(partition, batch.end))
        self._metrics.waiting(self._waiting_bytes())
        return anything, gone

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

    def _move_on(self, follower: Follower, partition: Partition) -> None:
        """What was to be read is not there any more: write what waits, go on where the topic begins."""
        self._check()
        low, high = watermarks(self._kafka.bootstrap_servers, partition.topic)[partition.number]
        batch = self._batches[partition]
        if batch.end > high:
            raise ArchiveError(f"{partition.topic}-{partition.number} ends at {high}, before what was read of it")
        if not batch.is_empty:
            batch = self._write(batch)
        self._batches[partition] = self._batch_from(partition, batch.end, low)
        follower.read_from({partition: self._batches[partition].end})

    def _waiting_bytes(self) -> int:
        return sum(batch.size_bytes for batch in self._batches.values())

    def _write_all(self, follower: Follower | None = None) -> None:
        self._check()
        for partition in list(self._batches):
            if not self._batches[partition].is_empty:
                self._batches[partition] = self._write(self._batches[partition])
        if follower is not None:
            self._look(follower)
            self._rounds += 1
            if self._rounds % FROM_COMMITS == 0:
                for topic in self._records:
                    roll_up(self._store, load_commits(self._store, topic))

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

    def _check(self) -> None:
        """Whether the topics are still those that were read."""
        for topic, identity in self._identities.of(self._records).items():
            if identity.topic_id != self._known[topic].topic_id:
                raise self._other_topic(topic, self._known[topic].topic_id, identity.topic_id)

    def _look(self, follower: Follower) -> None:
        """Check the topics, and read partitions that they have got meanwhile. No broker: the next time."""
        try:
            found = self._identities.of(self._records)
            self._check()
        except TopicMissing:
            raise
        except BrokerUnavailable:
            return
        follower.answered()
        for topic, identity in found.items():
            new = {Partition(topic, number) for number in identity.partitions} - set(self._batches)
            self._batches |= {partition: self._batch_from(partition, None, 0) for partition in new}
            if new:
                follower.read_from({partition: 0 for partition in new})

    def _insist(self, stop: threading.Event, work: Callable[[], object]) -> None:
        """Do it until it succeeds; told to stop, leave it to the last try."""
        wait_s, said = _FIRST_WAIT_S, False
        while True:
            try:
                work()
            except _OtherTopic:
                raise
            except TopicMissing:
                raise
            except InspectionError as error:
                if not said:
                    _log.error("%s; tried again until it succeeds, and nothing is read meanwhile", error)
                said = True
                self._metrics.away(True)
                if stop.wait(wait_s):
                    return
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            else:
                if said:
                    _log.warning("archived again to %s", self._store.uri)
                self._metrics.away(False)
                return

    def _other_topic(self, topic: str, archived: str, present: str) -> _OtherTopic:
        return _OtherTopic(
            f"archive {self._store.uri} is of another topic {topic} ({archived}) than the one that is there now "
            f"({present}): it was deleted and made anew, its offsets begin again; archive to another URI"
        )


class _OtherTopic(ArchiveError):
    """The topic was made anew: trying again is no help."""
