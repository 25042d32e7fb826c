"""Input of an audit from the topics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from operations.audit.accounts import Audit
from schemas.codec import Codec
from schemas.errors import CodecError
from schemas.records import DeadLetter, Decision
from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from transport.range_reader import read_topic
from transport.topic_ranges import OnStageProgress, TimeRange, TopicMessage, watermarks

#: Time around a range in which missing sequence numbers are searched: a spool sends its frames late.
LOOK_AROUND_US = 15 * 60 * 1_000_000

_NEVER_US = 2**62

MessagePlace = tuple[str, int, int]


def audit_topics(
    kafka: KafkaSettings,
    within: TimeRange | None = None,
    *,
    camera: str | None = None,
    look_around_us: int = LOOK_AROUND_US,
    on_progress: OnStageProgress = lambda topic, done, total: None,
) -> Audit:
    """Read the frames of a range, and all their answers up to now.

    Parameters
    ----------
    within
        Range of the frames, by the time they reached Kafka. Answers are read from its start to the end of the topics,
        since they may come later.
    camera
        Audit only this camera, as ``station/camera``.
    look_around_us
        If sequence numbers are missing in the range, they are searched for this long before and after it: a spool that
        is drained beside live frames mixes old sequence numbers with new ones.
    on_progress
        Called with the topic, messages read, messages to read.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If a topic cannot be read.
    """
    within = within or TimeRange()
    audit = Audit(complete_since_us=within.from_us, open_end=within.to_us is None)
    reader = _Reader(kafka, camera, on_progress)
    reader.frames(audit, within)
    if audit.missing and within != TimeRange():
        reader.look_around(audit, within, look_around_us)
    after = TimeRange(within.from_us)
    for message in reader.read("decisions", kafka.decisions, after, audit.unreadable_decisions.append):
        try:
            audit.decision(reader.codec.decode(message.value, Decision))
        except CodecError:
            audit.unreadable_decisions.append((message.topic, message.partition, message.offset))
    for message in reader.read("dead letters", kafka.dead_letters, after, audit.unreadable_dead_letters.append):
        try:
            audit.dead_letter(reader.codec.decode(message.value, DeadLetter, max_bytes=MAX_REQUEST_BYTES))
        except CodecError:
            audit.unreadable_dead_letters.append((message.topic, message.partition, message.offset))
    return audit


@dataclass
class _Reader:
    """Reader of the topics of a line, with one codec."""

    kafka: KafkaSettings
    camera: str | None
    on_progress: OnStageProgress
    codec: Codec = field(init=False)

    def __post_init__(self) -> None:
        self.codec = Codec.from_settings(self.kafka)

    def read(
        self, what: str, topic: str, within: TimeRange, unreadable: Callable[[MessagePlace], object]
    ) -> Iterator[TopicMessage]:
        """Yield the messages of a topic, with progress; ``unreadable`` gets the place of each unreadable batch."""
        return read_topic(
            self.kafka,
            topic,
            within,
            on_progress=lambda *at: self.on_progress(what, *at),
            on_unreadable=lambda batch: unreadable((batch.topic, batch.partition, batch.first)),
        )

    def frames(self, audit: Audit, within: TimeRange) -> None:
        """Enter the frames of a range, and the time since which the topic is complete."""
        # Ask before reading: frames deleted meanwhile are older than any start that counts as whole.
        offsets = watermarks(self.kafka, self.kafka.frames)
        cut = {number: low for number, (low, _) in offsets.items() if low}
        since_us = within.from_us
        for message in self.read("frames", self.kafka.frames, within, audit.unreadable_frame):
            low = cut.pop(message.partition, None)
            if low is not None and (within.from_us is None or message.offset == low):
                since_us = max(since_us or 0, message.timestamp_us)
            try:
                frame = self.codec.decode_head(message.value)
            except CodecError:
                audit.unreadable_frame((message.topic, message.partition, message.offset))
                continue
            audit.seen_cameras.add(frame.key)
            if self.camera in (None, frame.key):
                audit.frame(frame, message.timestamp_us)
        if cut and since_us is None:
            # Frames were deleted, and it is unknown until when: no start can be taken as complete.
            since_us = _NEVER_US
        audit.complete_since_us = since_us

    def look_around(self, audit: Audit, within: TimeRange, look_around_us: int) -> None:
        """Search for the missing sequence numbers before the range, and for those still missing after the range."""
        sides = []
        if within.from_us is not None:
            sides.append(TimeRange(max(0, within.from_us - look_around_us), within.from_us))
        if within.to_us is not None:
            sides.append(TimeRange(within.to_us, within.to_us + look_around_us))
        for side in sides:
            if not audit.missing:
                return
            for message in self.read("frames around", self.kafka.frames, side, lambda place: None):
                with suppress(CodecError):
                    audit.frame_elsewhere(self.codec.decode_head(message.value))
