"""Fill an audit from the topics."""

from __future__ import annotations

from collections.abc import Callable

from replay.audit import Audit
from replay.topic_reader import TopicRange, read_topic
from schemas.errors import CodecError
from schemas.records import DeadLetter, Decision, Frame
from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from schemas.wire import Codec


def audit_topics(
    kafka: KafkaSettings,
    within: TopicRange | None = None,
    *,
    camera: str | None = None,
    on_progress: Callable[[str, int, int], object] = lambda topic, done, total: None,
) -> Audit:
    """Read frames in a range, and all their answers up to now.

    Parameters
    ----------
    within
        Of frames, by the time they reached Kafka. Answers are looked for from there to the end: they may come later.
    camera
        Only this one, as ``station/camera``.
    on_progress
        Called with the topic, messages read, messages to read.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If a topic cannot be read.
    """
    within = within or TopicRange()
    codec = Codec.from_settings(kafka)
    audit = Audit(whole=within.from_us is None)
    after = TopicRange(within.from_us)
    for message in read_topic(
        kafka.bootstrap_servers, kafka.frames, within, on_progress=lambda *at: on_progress("frames", *at)
    ):
        try:
            frame = codec.decode(message.value, Frame)
        except CodecError:
            audit.unreadable_frame((message.topic, message.partition, message.offset))
            continue
        if camera in (None, frame.key):
            audit.frame(frame)
    for message in read_topic(
        kafka.bootstrap_servers, kafka.decisions, after, on_progress=lambda *at: on_progress("decisions", *at)
    ):
        try:
            audit.decision(codec.decode(message.value, Decision))
        except CodecError:
            audit.unreadable_decisions += 1
    for message in read_topic(
        kafka.bootstrap_servers, kafka.dead_letters, after, on_progress=lambda *at: on_progress("dead letters", *at)
    ):
        try:
            audit.dead_letter(codec.decode(message.value, DeadLetter, max_bytes=MAX_REQUEST_BYTES))
        except CodecError:
            audit.unreadable_dead_letters += 1
    return audit
