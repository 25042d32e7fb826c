"""Input of an audit from the topics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from operations.audit.accounts import Audit
from replay.past.source import Source
from schemas.errors import CodecError
from schemas.origin_headers import group_name
from schemas.records import DeadLetter, Decision, Frame
from transport.stored_message import MessagePosition, R, StoredMessage
from transport.topic_ranges import OnStageProgress, TimeRange

#: Time around a range in which missing sequence numbers are searched: a spool sends its frames late.
LOOK_AROUND_US = 15 * 60 * 1_000_000

_NEVER_US = 2**62


def audit_topics(
    source: Source,
    within: TimeRange | None = None,
    *,
    camera: str | None = None,
    look_around_us: int = LOOK_AROUND_US,
    on_progress: OnStageProgress = lambda topic, done, total: None,
) -> Audit:
    """Read the frames of a range, and all their answers up to now.

    Parameters
    ----------
    source
        Topics, archive, or both. An archive does not have the batches that no client can read.
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
    _enter_frames(audit, source, within, camera, on_progress)
    if audit.missing and within != TimeRange():
        _look_around(audit, source, within, look_around_us, on_progress)
    after = TimeRange(within.from_us)
    unreadable = audit.unreadable_decisions.append
    for decision in _read("decisions", source, Decision, after, on_progress, unreadable):
        if decision.record is not None:
            audit.decision(decision.record, group_name(decision.headers))
        else:
            unreadable(decision.position)
    unreadable = audit.unreadable_dead_letters.append
    for letter in _read("dead letters", source, DeadLetter, after, on_progress, unreadable):
        if letter.record is not None:
            audit.dead_letter(letter.record)
        else:
            unreadable(letter.position)
    return audit


def _read(
    stage: str,
    source: Source,
    record: type[R],
    within: TimeRange,
    on_progress: OnStageProgress,
    unreadable: Callable[[MessagePosition], object],
) -> Iterator[StoredMessage[R]]:
    """Yield the messages of a topic, with progress; ``unreadable`` gets the place of each unreadable batch."""
    return source.indexed(
        record,
        within,
        on_progress=lambda *at: on_progress(stage, *at),
        on_unreadable=lambda batch: unreadable(MessagePosition(batch.topic, batch.partition, batch.first)),
    )


def _enter_frames(
    audit: Audit, source: Source, within: TimeRange, camera: str | None, on_progress: OnStageProgress
) -> None:
    """Enter the frames of a range, and the time since which the topic is complete."""
    # Ask before reading: frames deleted meanwhile are older than any start that counts as whole.
    cut = {number: offset for number, offset in source.complete_from(Frame).items() if offset}
    since_us = within.from_us
    for message in _read("frames", source, Frame, within, on_progress, audit.unreadable_frame):
        partition, offset = message.position.partition, message.position.offset
        if partition in cut and offset >= cut[partition]:
            first = cut.pop(partition)
            if within.from_us is None or offset == first:
                since_us = max(since_us or 0, message.timestamp_us)
        frame = _head(message, source)
        if frame is None:
            audit.unreadable_frame(message.position)
            continue
        audit.seen_cameras.add(frame.key)
        if camera in (None, frame.key):
            audit.frame(frame, message.timestamp_us)
    if cut and since_us is None:
        # Frames were deleted, and it is unknown until when: no start can be taken as complete.
        since_us = _NEVER_US
    audit.complete_since_us = since_us


def _look_around(
    audit: Audit, source: Source, within: TimeRange, look_around_us: int, on_progress: OnStageProgress
) -> None:
    """Search for the missing sequence numbers before the range, and for those still missing after the range."""
    sides = []
    if within.from_us is not None:
        sides.append(TimeRange(max(0, within.from_us - look_around_us), within.from_us))
    if within.to_us is not None:
        sides.append(TimeRange(within.to_us, within.to_us + look_around_us))
    for side in sides:
        if not audit.missing:
            return
        for message in _read("frames around", source, Frame, side, on_progress, lambda position: None):
            if (frame := _head(message, source)) is not None:
                audit.frame_elsewhere(frame)


def _head(message: StoredMessage[Frame], source: Source) -> Frame | None:
    """Return the frame; without attributes and image if they are too large, None if not even its identity is there."""
    if message.record is not None:
        return message.record
    try:
        return source.codec.decode_head(message.value)
    except CodecError:
        return None
