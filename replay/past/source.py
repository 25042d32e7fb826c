"""Source of recorded messages: an archive, and the topics for messages not in the archive; each message once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from schemas.codec import Codec
from schemas.errors import CodecError, SettingsError
from schemas.records import DeadLetter, Decision, DriftEvent, Frame, Label
from schemas.settings import KafkaSettings
from transport.offset_ranges import OffsetRanges, intersect, subtract
from transport.range_reader import read_ranges
from transport.stored_message import MessagePosition, R, StoredMessage
from transport.topic_identity import TopicIdentities
from transport.topic_ranges import OnProgress, TimeRange, TopicMessage, time_ranges, watermarks


class ArchiveReader(Protocol):
    """Interface of an archive that a source needs; `replay.archive` implements it."""

    def covered(self, topic: str) -> OffsetRanges:
        """Return the covered offsets of a topic, by partition; offsets without a message are included."""

    def candidates(self, topic: str, within: TimeRange | None = None) -> OffsetRanges:
        """Return the covered offsets that may be in a time range, from the index, without opening a file."""

    def topic_id(self, topic: str) -> str | None:
        """Return Kafka's id of the archived topic; None if nothing of it is archived."""

    def read(
        self,
        record: type[R],
        topic: str,
        ranges: OffsetRanges,
        *,
        on_progress: OnProgress,
        cameras: Collection[str] = (),
        lots: Collection[str] = (),
    ) -> Iterator[StoredMessage[R]]:
        """Yield the messages of these offsets, each partition in order; progress counts offsets, done and in all.

        Only files with some of these messages are opened. With cameras or lots, files of others need not be opened.
        """


@dataclass(frozen=True, slots=True)
class Source:
    """Topics of a line, an archive, or both as one.

    Parameters
    ----------
    kafka
        Settings of the line. With ``topics`` False only its names are used, and no broker is asked.
    archive
        None for the topics alone.
    max_bytes_s
        Maximum bytes read from the topics in a second; None for no limit.
    """

    kafka: KafkaSettings
    archive: ArchiveReader | None = None
    topics: bool = True
    max_bytes_s: float | None = None

    def topic(self, record: type) -> str:
        """Return the name of the topic that carries a record."""
        names = {
            Frame: self.kafka.frames, Decision: self.kafka.decisions, Label: self.kafka.labels,
            DriftEvent: self.kafka.drift, DeadLetter: self.kafka.dead_letters,
        }  # fmt: skip
        return names[record]

    def extent(self, record: type) -> OffsetRanges:
        """Return all existing offsets of a record: those of the archive, and those of the topic at this moment.

        Raises
        ------
        BrokerUnavailable, TopicMissing
            If the topic cannot be asked.
        SettingsError
            If the archive is of another topic of that name.
        """
        topic = self.topic(record)
        self._check_same(topic)
        found: dict[int, tuple[tuple[int, int], ...]] = {}
        if self.archive is not None:
            found |= self.archive.covered(topic)
        if self.topics:
            for number, bounds in watermarks(self.kafka, topic).items():
                found[number] = (*found.get(number, ()), bounds)
        return subtract(found, {})

    def ranges(self, record: type, within: TimeRange, late_by_us: int | None = None) -> OffsetRanges:
        """Return offsets that include all messages of a time range, and possibly others.

        The broker's index finds the first message of a time. After the last one there may be more, if timestamps are
        out of order. So the ranges go on to the end, or to the offsets that are ``late_by_us`` later.

        Raises
        ------
        BrokerUnavailable, TopicMissing
            If the topic cannot be asked.
        SettingsError
            If the archive is of another topic of that name.
        """
        topic = self.topic(record)
        self._check_same(topic)
        archived: OffsetRanges = {}
        covered: OffsetRanges = {}
        if self.archive is not None:
            covered, archived = self.archive.covered(topic), self.archive.candidates(topic, within)
        if not self.topics:
            return archived
        end_us = None if within.to_us is None or late_by_us is None else within.to_us + late_by_us
        begin_us = None if within.from_us is None else max(0, within.from_us)
        live = time_ranges(self.kafka, topic, TimeRange(begin_us, end_us))
        beyond = subtract(live, covered)
        numbers = sorted({*archived, *beyond})
        return subtract({number: (*archived.get(number, ()), *beyond.get(number, ())) for number in numbers}, {})

    def _check_same(self, topic: str) -> None:
        """Check that the archive is of this topic: a re-created one has other messages at the same offsets."""
        if self.archive is None or not self.topics:
            return
        archived = self.archive.topic_id(topic)
        if archived is None:
            return
        present = TopicIdentities(self.kafka).of([topic])[topic].topic_id
        if present != archived:
            raise SettingsError(
                f"the archive is of another topic {topic} ({archived}) than the one that is there now ({present}): it "
                "was deleted and re-created; read the archive alone, or the topics alone"
            )

    def read(
        self,
        record: type[R],
        ranges: OffsetRanges,
        *,
        on_progress: OnProgress = lambda done, total: None,
        cameras: Collection[str] = (),
        lots: Collection[str] = (),
    ) -> Iterator[StoredMessage[R]]:
        """Yield the messages of these offsets: first those in the archive, then the rest; each partition in order.

        Parameters
        ----------
        cameras, lots
            If not empty, messages of all others may be left out: an archive need not open their files.

        Raises
        ------
        BrokerUnavailable, TopicMissing
            If the topic cannot be read.
        """
        topic = self.topic(record)
        archived = {} if self.archive is None else intersect(ranges, self.archive.covered(topic))
        live = subtract(ranges, archived) if self.topics else {}
        sizes = [sum(end - begin for spans in part.values() for begin, end in spans) for part in (archived, live)]
        if self.archive is not None and archived:
            yield from self.archive.read(
                record,
                topic,
                archived,
                on_progress=lambda done, _: on_progress(done, sum(sizes)),
                cameras=cameras,
                lots=lots,
            )
        if live:
            codec = Codec.from_settings(self.kafka)
            for message in read_ranges(
                self.kafka,
                topic,
                live,
                on_progress=lambda done, _: on_progress(sizes[0] + done, sum(sizes)),
                max_bytes_s=self.max_bytes_s,
            ):
                yield stored(message, record, codec)

    def records(
        self,
        record: type[R],
        within: TimeRange | None = None,
        *,
        on_progress: OnProgress = lambda done, total: None,
    ) -> Iterator[StoredMessage[R]]:
        """Yield the messages with a timestamp in a range, from archive and topic.

        Raises
        ------
        BrokerUnavailable, TopicMissing
            If the topic cannot be read.
        """
        within = within or TimeRange()
        for found in self.read(record, self.ranges(record, within), on_progress=on_progress):
            if within.has(found.timestamp_us):
                yield found


def stored(message: TopicMessage, record: type[R], codec: Codec) -> StoredMessage[R]:
    """Return a message of a topic with its record."""
    place = MessagePosition(message.topic, message.partition, message.offset)
    try:
        found = codec.decode(message.value, record)
    except CodecError as error:
        return StoredMessage(
            place, message.timestamp_us, message.key, message.headers, None, message.value, f"{error.kind}: {error}"
        )
    return StoredMessage(place, message.timestamp_us, message.key, message.headers, found)
