"""Input of an audit from the topics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from operations.audit.accounts import Audit
from operations.audit.reconcile import EdgeStart
from replay.past.source import Source
from schemas.errors import CodecError
from schemas.origin_headers import group_name
from schemas.records import DeadLetter, Decision, Frame
from transport.stored_message import MessagePosition, R, StoredMessage
from transport.topic_ranges import OnStageProgress, TimeRange

#: Time around a range in which missing sequence numbers are searched: a spool sends its frames late.
LOOK_AROUND_US = 15 * 60 * 1_000_000

_NEVER_US = 2**62
#: Time before a range in which answers to its frames are read.
_SLACK_US = 60 * 1_000_000


def audit_topics(
    source: Source,
    within: TimeRange | None = None,
    *,
    camera: str | None = None,
    look_around_us: int = LOOK_AROUND_US,
    without_frames: bool = False,
    edge: Collection[EdgeStart] = (),
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
    without_frames
        Where the frames are not to be had, as at the centre of several lines: a frame counts if a decision is about it,
        and other frames are missing sequence numbers.
    edge
        Facts from edge reports and spools: the edge may have captured frames after the newest one of the range.
    on_progress
        Called with the topic, messages read, messages to read.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If a topic cannot be read.
    """
    within = within or TimeRange()
    audit = Audit(complete_since_us=within.from_us, open_end=within.to_us is None)
    _enter_frames(audit, source, within, camera, on_progress, without_frames)
    if within != TimeRange() and audit.missing(edge):
        _look_around(audit, source, within, look_around_us, edge, on_progress, without_frames)
    # The clock of a worker may be behind that of a camera.
    after = TimeRange(None if within.from_us is None else max(0, within.from_us - _SLACK_US))
    unreadable = audit.unreadable_decisions.append
    for decision in _read("decisions", source, Decision, after, on_progress, unreadable, with_others=True):
        if decision.record is not None:
            audit.decision(decision.record, group_name(decision.headers))
        else:
            unreadable(decision.position)
    unreadable = audit.unreadable_dead_letters.append
    for letter in _read("dead letters", source, DeadLetter, after, on_progress, unreadable, with_others=True):
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
    *,
    with_others: bool = False,
) -> Iterator[StoredMessage[R]]:
    """Yield the messages of a topic, with progress; ``unreadable`` gets the place of each unreadable batch."""
    return source.indexed(
        record,
        within,
        on_progress=lambda *at: on_progress(stage, *at),
        on_unreadable=lambda batch: unreadable(MessagePosition(batch.topic, batch.partition, batch.first)),
        with_others=with_others,
    )


def _frames(
    stage: str,
    source: Source,
    without_frames: bool,
    within: TimeRange,
    on_progress: OnStageProgress,
    unreadable: Callable[[MessagePosition], object],
) -> Iterator[StoredMessage[Frame] | StoredMessage[Decision]]:
    if without_frames:
        yield from _read(stage, source, Decision, within, on_progress, unreadable)
    else:
        yield from _read(stage, source, Frame, within, on_progress, unreadable)


def _enter_frames(
    audit: Audit,
    source: Source,
    within: TimeRange,
    camera: str | None,
    on_progress: OnStageProgress,
    without_frames: bool,
) -> None:
    """Enter the frames of a range, and the time since which the topic is complete."""
    # Ask before reading: frames deleted meanwhile are older than any start that counts as whole.
    cut = {
        number: offset
        for number, offset in source.complete_from(Decision if without_frames else Frame).items()
        if offset
    }
    since_us = within.from_us
    unreadable = (lambda position: None) if without_frames else audit.unreadable_frame
    for message in _frames("frames", source, without_frames, within, on_progress, unreadable):
        partition, offset = message.position.partition, message.position.offset
        if partition in cut and offset >= cut[partition]:
            first = cut.pop(partition)
            if within.from_us is None or offset == first:
                since_us = max(since_us or 0, message.timestamp_us)
        frame = _head(message, source)
        if frame is None:
            unreadable(message.position)
            continue
        audit.seen_cameras.add(frame.key)
        if camera not in (None, frame.key):
            continue
        if isinstance(frame, Decision):
            audit.frame_of(frame, message.timestamp_us)
        else:
            audit.frame(frame, message.timestamp_us)
    if cut and since_us is None:
        # Frames were deleted, and it is unknown until when: no start can be taken as complete.
        since_us = _NEVER_US
    audit.complete_since_us = since_us


def _look_around(
    audit: Audit,
    source: Source,
    within: TimeRange,
    look_around_us: int,
    edge: Collection[EdgeStart],
    on_progress: OnStageProgress,
    without_frames: bool,
) -> None:
    """Search for the missing sequence numbers before the range, and for those still missing after the range."""
    sides = []
    if within.from_us is not None:
        sides.append(TimeRange(max(0, within.from_us - look_around_us), within.from_us))
    if within.to_us is not None:
        sides.append(TimeRange(within.to_us, within.to_us + look_around_us))
    for side in sides:
        if not audit.missing(edge):
            return
        for message in _frames("frames around", source, without_frames, side, on_progress, lambda position: None):
            if (frame := _head(message, source)) is not None:
                audit.frame_elsewhere(frame)


def _head(message: StoredMessage[Frame] | StoredMessage[Decision], source: Source) -> Frame | Decision | None:
    """Return the frame; without attributes and image if they are too large, None if not even its identity is there."""
    if message.record is not None:
        return message.record
    try:
        return source.codec.decode_head(message.value)
    except CodecError:
        return None
