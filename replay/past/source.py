"""Source of recorded messages: an archive, and the topics for messages not in the archive; each message once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from replay.past.label_signatures import LabelSignatures
from schemas.codec import Codec
from schemas.errors import CodecError, InspectionError, SettingsError, TopicMissing
from schemas.records import DeadLetter, Decision, DriftEvent, Frame, Label
from schemas.settings import KafkaSettings
from transport.batches import UnreadableBatch
from transport.offset_ranges import OffsetRanges, intersect, merged, subtract, total
from transport.range_reader import read_ranges
from transport.stored_message import MessagePosition, R, StoredMessage, max_bytes
from transport.topic_identity import TopicIdentities
from transport.topic_ranges import OnProgress, TimeRange, TopicMessage, time_bounds, time_ranges, watermarks

_log = logging.getLogger(__name__)


class TopicGone(TopicMissing):
    """Topic that Kafka does not have, while an archive is read with the topics; the line states what to do."""

    def __init__(self, topic: str, *, is_archived: bool) -> None:
        InspectionError.__init__(
            self,
            f"Kafka has no {topic} any more; --archive-only reads what the archive has of it"
            if is_archived
            else f"neither the archive nor Kafka has {topic}; --archive-only reads the archive without it",
        )
        self.names = [topic]


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


@dataclass(frozen=True)
class Source:
    """Topics of a line, an archive, or both as one.

    A topic of which the archive has nothing is read from Kafka alone. Without topics it counts as empty, with a line
    in the log.

    Parameters
    ----------
    kafka
        Settings of the line. With ``topics`` False only its names are used, and no broker is asked.
    archive
        None for the topics alone.
    max_bytes_s
        Maximum bytes read from the topics in a second; None for no limit.
    label_signatures
        Check of each label that is read. An archive keeps records, which are encoded again for it: a label that another
        version of the schema has written fails. None: every label is believed.
    """

    kafka: KafkaSettings
    archive: ArchiveReader | None = None
    topics: bool = True
    max_bytes_s: float | None = None
    label_signatures: LabelSignatures | None = None
    _reported: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @cached_property
    def codec(self) -> Codec:
        """Codec of the line; without topics, the one of an archive."""
        return Codec.from_settings(self.kafka) if self.topics else Codec()

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
        covered = self._covered(topic)
        live = self._watermarks(topic)
        numbers = sorted({*covered, *live})
        return subtract({number: (*covered.get(number, ()), *_spans(live, number)) for number in numbers}, {})

    def complete_from(self, record: type) -> dict[int, int]:
        """Return, by partition, the offset from which on nothing was deleted that was not archived before.

        Raises
        ------
        BrokerUnavailable, TopicMissing, SettingsError
            See `extent`.
        """
        topic = self.topic(record)
        covered = self._covered(topic)
        live = self._watermarks(topic)
        found = {}
        for number in sorted({*covered, *live}):
            low = live[number][0] if number in live else 0
            last = merged([*covered.get(number, ()), *_spans(live, number)])[-1:]
            found[number] = last[0][0] if last and last[0][1] >= low else low
        return found

    def index_ranges(self, record: type, within: TimeRange) -> OffsetRanges:
        """Return the offsets that have the messages of a time range, and possibly others.

        Of the topic they are those of `transport.topic_ranges.time_ranges`: messages that are very late are not among
        them; `ranges` has them all.

        Raises
        ------
        BrokerUnavailable, TopicMissing, SettingsError
            See `extent`.
        """
        topic = self.topic(record)
        covered = self._covered(topic)
        live: dict[int, tuple[int, int]] = {}
        if self.topics:
            with self._asking(topic):
                live = time_bounds(self.kafka, topic, within)
        candidates: OffsetRanges = {} if self.archive is None else self.archive.candidates(topic, within)
        # As in the topic, messages of other times lie between the first and the last one.
        archived = intersect({number: ((some[0][0], some[-1][1]),) for number, some in candidates.items()}, covered)
        numbers = sorted({*archived, *live})
        return subtract({number: (*archived.get(number, ()), *_spans(live, number)) for number in numbers}, {})

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
        covered = self._covered(topic)
        archived = {} if self.archive is None else self.archive.candidates(topic, within)
        if not self.topics:
            return archived
        end_us = None if within.to_us is None or late_by_us is None else within.to_us + late_by_us
        begin_us = None if within.from_us is None else max(0, within.from_us)
        with self._asking(topic):
            live = time_ranges(self.kafka, topic, TimeRange(begin_us, end_us))
        beyond = subtract(live, covered)
        numbers = sorted({*archived, *beyond})
        return subtract({number: (*archived.get(number, ()), *beyond.get(number, ())) for number in numbers}, {})

    def read(
        self,
        record: type[R],
        ranges: OffsetRanges,
        *,
        on_progress: OnProgress = lambda done, total: None,
        on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
        cameras: Collection[str] = (),
        lots: Collection[str] = (),
        with_values: bool = False,
    ) -> Iterator[StoredMessage[R]]:
        """Yield the messages of these offsets: first those in the archive, then the rest; each partition in order.

        Parameters
        ----------
        on_unreadable
            Called with each batch of a topic that no client can read. An archive does not have such batches.
        cameras, lots
            If not empty, messages of all others may be left out: an archive need not open their files.
        with_values
            Yield each message with its bytes: those of the topic, or the archived record encoded again. Labels whose
            signatures are checked have them always.

        Raises
        ------
        BrokerUnavailable, TopicMissing
            If the topic cannot be read.
        """
        topic = self.topic(record)
        check = self.label_signatures if record is Label else None
        with_values = with_values or check is not None
        archived = {} if self.archive is None else intersect(ranges, self.archive.covered(topic))
        live = subtract(ranges, archived) if self.topics else {}
        sizes = [total(archived), total(live)]
        if self.archive is not None and archived:
            for found in self.archive.read(
                record,
                topic,
                archived,
                on_progress=lambda done, _: on_progress(done, sum(sizes)),
                cameras=cameras,
                lots=lots,
            ):
                if with_values and found.record is not None:
                    found = replace(found, value=self.codec.encode(found.record))
                if check is None or check.uses(found):
                    yield found
        if not live:
            return
        codec = self.codec
        read = read_ranges(
            self.kafka,
            topic,
            live,
            on_progress=lambda done, _: on_progress(sizes[0] + done, sum(sizes)),
            on_unreadable=on_unreadable,
            max_bytes_s=self.max_bytes_s,
        )
        with closing(read) as messages:
            for message in messages:
                found = stored(message, record, codec)
                found = replace(found, value=message.value) if with_values else found
                if check is None or check.uses(found):
                    yield found

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

    def indexed(
        self,
        record: type[R],
        within: TimeRange | None = None,
        *,
        on_progress: OnProgress = lambda done, total: None,
        on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
        with_others: bool = False,
    ) -> Iterator[StoredMessage[R]]:
        """Yield the messages of `index_ranges` that are of the time.

        Parameters
        ----------
        with_others
            Yield the messages of other times among them too: clocks of several machines differ.

        Raises
        ------
        BrokerUnavailable, TopicMissing
            If the topic cannot be read.
        """
        within = within or TimeRange()
        ranges = self.index_ranges(record, within)
        for found in self.read(record, ranges, on_progress=on_progress, on_unreadable=on_unreadable):
            if with_others or within.has(found.timestamp_us):
                yield found

    def _covered(self, topic: str) -> OffsetRanges:
        """Return the archived offsets; check that they are of this topic, since a re-created one begins at 0 again."""
        if self.archive is None:
            return {}
        archived = self.archive.topic_id(topic)
        if archived is None:
            if not self.topics and topic not in self._reported:
                self._reported.add(topic)
                _log.warning("the archive has nothing of %s", topic)
            return {}
        if self.topics:
            with self._asking(topic):
                present = TopicIdentities(self.kafka).of([topic])[topic].topic_id
            if present != archived:
                raise SettingsError(
                    f"the archive is of another topic {topic} ({archived}) than the one that is there now ({present}): "
                    "it was deleted and re-created; read the archive alone, or the topics alone"
                )
        return self.archive.covered(topic)

    def _watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        if not self.topics:
            return {}
        with self._asking(topic):
            return watermarks(self.kafka, topic)

    @contextmanager
    def _asking(self, topic: str) -> Iterator[None]:
        try:
            yield
        except TopicMissing as error:
            if self.archive is None:
                raise
            raise TopicGone(topic, is_archived=self.archive.topic_id(topic) is not None) from error


def _spans(bounds: Mapping[int, tuple[int, int]], number: int) -> tuple[tuple[int, int], ...]:
    return (bounds[number],) if number in bounds else ()


def stored(message: TopicMessage, record: type[R], codec: Codec) -> StoredMessage[R]:
    """Return a message of a topic with its record."""
    position = MessagePosition(message.topic, message.partition, message.offset)
    try:
        found = codec.decode(message.value, record, max_bytes=max_bytes(record))
    except CodecError as error:
        return StoredMessage(
            position, message.timestamp_us, message.key, message.headers, None, message.value, f"{error.kind}: {error}"
        )
    return StoredMessage(position, message.timestamp_us, message.key, message.headers, found)
