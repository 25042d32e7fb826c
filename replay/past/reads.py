"""Reads of the past without a resolved selection: recorded frames, single frames, labels."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from itertools import islice

from monitoring.quality.outcome import labelled_at_us
from replay.past.decision_index import DecisionIndex
from replay.past.replayed_frame import ReplayedFrame
from replay.past.resolved_selection import (
    GAP,
    SLACK_US,
    EmptySelection,
    capture_range,
    head,
    silent,
    tail,
    with_episode,
)
from replay.past.selection import Selection
from replay.past.source import Source
from schemas.clock import SystemClock
from schemas.moments import time_text
from schemas.part_ids import real_part_id
from schemas.records import Decision, Frame, Label
from transport.offset_ranges import intersect, merged
from transport.stored_message import MessagePosition, StoredMessage
from transport.topic_ranges import OnStageProgress, TimeRange

_log = logging.getLogger(__name__)


def recorded_frames(
    source: Source, selection: Selection, *, on_progress: OnStageProgress = silent
) -> Iterator[ReplayedFrame]:
    """Yield the frames of a selection from their recorded decisions alone; the frames themselves may be deleted.

    The times of the selection are those of the capture, whatever its clock; ``last`` counts the frames captured last.

    Raises
    ------
    BrokerUnavailable, TopicMissing, NoSuchEpisode
        See `ResolvedSelection`.
    """
    effective = with_episode(source, selection, on_progress)
    index = DecisionIndex(source.topic(Frame))
    try:
        ranges = source.ranges(Decision, *capture_range(effective))
        for found in source.read(Decision, ranges, on_progress=lambda *at: on_progress("decisions", *at)):
            if found.record is not None and _is_selected_decision(effective, found.record):
                index.add(found.record)
        # A frame that was shed and inspected later is judged by the inspection, so filter only now.
        rows = (row for row in (index if effective.last is None else index.newest()) if effective.has_decision(row[1]))
        for position, decision in islice(rows, effective.last):
            yield ReplayedFrame(position=position, timestamp_us=decision.captured_at_us, recorded=decision)
    finally:
        index.close()


def empty_selection_error(source: Source, *, record: type[Frame] | type[Decision] = Frame) -> EmptySelection:
    """Return the error for an empty selection: it states the existing data, from first to last time."""
    is_frame = record is Frame
    what = "frames" if is_frame else "decisions"
    ranges = source.extent(record)
    ends = {number: merged([*head(spans), *tail(spans, GAP)]) for number, spans in ranges.items()}
    times_us = [found.timestamp_us for found in (source.read(Frame, ends) if is_frame else source.read(Decision, ends))]
    if not times_us:
        return EmptySelection(f"nothing selected: there are no {what} at all in {source.topic(record)}")
    begin, end = time_text(min(times_us)), time_text(max(times_us))
    return EmptySelection(f"nothing selected: {source.topic(record)} has {what} from {begin} to {end}, none matches")


def read_frames(source: Source, positions: Iterable[MessagePosition]) -> Iterator[StoredMessage[Frame]]:
    """Yield the frames at some places, such as those of a gallery; deleted frames are left out.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If the topic cannot be read.
    """
    wanted: dict[int, list[tuple[int, int]]] = {}
    for position in positions:
        wanted.setdefault(position.partition, []).append((position.offset, position.offset + 1))
    ranges = {number: merged(spans) for number, spans in wanted.items()}
    yield from source.read(Frame, intersect(ranges, source.extent(Frame)))


def read_labels(
    source: Source, since_us: int | None = None, *, on_progress: OnStageProgress = silent
) -> Iterator[Label]:
    """Yield labels from an hour before a time on: a label may be published long after its frame, or a little before.

    A label whose time is more than five minutes later than its message gets the time of the message: a clock that was
    ahead must not make it the newest for ever.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If the topic cannot be read.
    """
    within = TimeRange(None if since_us is None else max(0, since_us - SLACK_US))
    now_us, future = SystemClock().utc_us(), 0
    for found in source.records(Label, within, on_progress=lambda *at: on_progress("labels", *at)):
        if (label := found.record) is not None:
            at_us = labelled_at_us(label, now_us, found.timestamp_us)
            future += at_us != label.labelled_at_us
            yield label if at_us == label.labelled_at_us else dataclasses.replace(label, labelled_at_us=at_us)
    if future:
        _log.warning("%d labels have a time in the future: the time of their messages is used instead", future)


def _is_selected_decision(effective: Selection, decision: Decision) -> bool:
    """Return True if a decision is on a selected frame; its verdict is not checked."""
    bounds = effective.offsets.get(decision.source_partition)
    return (
        effective.has_time(decision.captured_at_us, decision.captured_at_us)
        and (not effective.offsets or (bounds is not None and bounds[0] <= decision.source_offset < bounds[1]))
        and (not effective.cameras or decision.key in effective.cameras)
        and (not effective.lots or decision.lot in effective.lots)
        and (not effective.parts or real_part_id(decision.part_id) in effective.parts)
        and (not effective.frames or decision.frame_id in effective.frames)
    )
