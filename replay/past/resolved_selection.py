"""Selection resolved against a source, with the selected messages and their recorded decisions."""

from __future__ import annotations

import dataclasses
import heapq
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from monitoring.drift.episodes import build_episodes, find_episode
from replay.past.decision_index import DecisionIndex
from replay.past.selection import Selection, TimeBasis
from replay.past.source import Source
from schemas.errors import InspectionError
from schemas.records import Decision, DriftEvent, Frame
from transport.offset_ranges import OffsetRanges, holds, intersect, merged, subtract, total
from transport.stored_message import StoredMessage
from transport.topic_ranges import OnStageProgress, TimeRange

_log = logging.getLogger(__name__)

#: Largest assumed difference between the clocks of cameras, workers and broker, if only one of their times is known.
SLACK_US = 3_600_000_000
#: Gap of unselected offsets that is read in one go: this costs less than another request to the broker.
GAP = 64
#: Offsets in which the first message of a partition is searched: some may be a transaction's markers.
_FIRST = 3
#: Minimum number of messages of a partition in which the newest are searched: they may be slightly out of order.
_WINDOW = 1000

FrameAndDecision = tuple[StoredMessage[Frame], Decision | None]


class EmptySelection(InspectionError):
    """Selection that matches none of the existing frames."""


class _Stopped(Exception):
    """Stop requested while no selected frame came."""


def silent(what: str, done: int, count: int) -> None:
    """Report no progress."""


class ResolvedSelection:
    """Selected messages of a source, with their decisions. Resolved on construction; later frames are not included.

    Memory: a few MiB for any range, and 100 bytes for each of ``Selection.last``. Recorded decisions are kept in a
    temporary file.

    Parameters
    ----------
    source
        Source of the recorded messages.
    selection
        Selection of frames.
    offsets
        Offsets that an earlier object with this `effective_selection` selected: selects the same messages, without
        later ones.
    on_progress
        Called with the name of the data being read, offsets done, offsets in all.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If a topic cannot be read.
    NoSuchEpisode
        If the selection names an episode that does not exist.
    """

    def __init__(
        self,
        source: Source,
        selection: Selection,
        *,
        offsets: OffsetRanges | None = None,
        on_progress: OnStageProgress = silent,
    ) -> None:
        self._source = source
        self._on_progress = on_progress
        self.selection = selection
        self._effective = with_episode(source, selection, on_progress)
        self._index = DecisionIndex(source.topic(Frame))
        ranges = self._frames_ranges() if offsets is None else offsets
        since_us = self._first_timestamp(ranges)
        for decision in self._decisions(None if since_us is None else max(0, since_us - SLACK_US)):
            if holds(ranges, decision.source_partition, decision.source_offset):
                self._index.add(decision)
        chosen: dict[int, list[tuple[int, int]]] = {}
        if self._effective.decided_as and offsets is None:
            # Only now it is known which of several decisions is the recorded one.
            for position, decision in self._index:
                if self._effective.has_decision(decision):
                    chosen.setdefault(position.partition, []).append((position.offset, position.offset + 1))
            ranges = intersect(ranges, {number: merged(spans, gap=GAP) for number, spans in chosen.items()})
        self._positions: frozenset[tuple[int, int]] | None = None
        #: Selected offsets, for the parameter ``offsets`` of another object.
        self.offsets: OffsetRanges = ranges
        if self._effective.last is not None:
            if offsets is None:
                self._positions = self._newest(ranges, self._effective.last)
            else:
                self._positions = frozenset(
                    (number, offset) for number, spans in offsets.items() for span in spans for offset in range(*span)
                )
            chosen = {}
            for partition, offset in self._positions:
                chosen.setdefault(partition, []).append((offset, offset + 1))
            self.offsets = {number: merged(spans) for number, spans in sorted(chosen.items())}
            ranges = {number: merged(spans, gap=GAP) for number, spans in sorted(chosen.items())}
        #: Offsets of the frames topic that are read; they include the selected ones.
        self.ranges: OffsetRanges = ranges

    @property
    def effective_selection(self) -> Selection:
        """Selection in which camera and times of the episode replace the episode."""
        return self._effective

    @property
    def frames_total(self) -> int:
        """Number of offsets that are read; some of them may not be selected frames."""
        return total(self.ranges)

    def frames(
        self,
        after: Mapping[int, int] = MappingProxyType({}),
        *,
        on_progress: Callable[[int, int], object] = lambda done, count: None,
        stop: threading.Event | None = None,
    ) -> Iterator[FrameAndDecision]:
        """Yield the selected frames, each with the decision on its message; each partition in the order of its offsets.

        A message that is not a valid frame comes with ``record`` None, unless the selection has a condition on fields
        that only a frame has.

        Parameters
        ----------
        after
            First offset of each partition that is still to be read, to resume another run.
        stop
            Once it is set, no more frames come, also while the reader finds only frames that are not selected.
        """
        try:
            yield from self._frames(after, on_progress, stop or threading.Event())
        except _Stopped:
            return

    def _frames(
        self, after: Mapping[int, int], on_progress: Callable[[int, int], object], stop: threading.Event
    ) -> Iterator[FrameAndDecision]:
        def report(done: int, _: int) -> None:
            if stop.is_set():
                raise _Stopped
            on_progress(passed + done, self.frames_total)

        ranges = subtract(self.ranges, {number: ((0, begin),) for number, begin in after.items()})
        passed = self.frames_total - total(ranges)
        for found in self._source.read(
            Frame,
            ranges,
            on_progress=report,
            cameras=self._effective.cameras,
            lots=self._effective.lots,
        ):
            if stop.is_set():
                return
            partition, offset = found.position.partition, found.position.offset
            if self._positions is not None and (partition, offset) not in self._positions:
                continue
            if not self._is_selected(found):
                continue
            decision = self._index.find(partition, offset)
            if self._effective.has_decision(decision):
                yield found, decision

    def close(self) -> None:
        """Close and delete the temporary file."""
        self._index.close()

    def __enter__(self) -> ResolvedSelection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _frames_ranges(self) -> OffsetRanges:
        effective = self._effective
        if effective.time_basis is TimeBasis.CAPTURED:
            ranges = self._source.ranges(Frame, *capture_range(effective))
        else:
            within = TimeRange(effective.from_us, effective.to_us)
            ranges = self._source.ranges(Frame, within, late_by_us=effective.late_by_us)
        if effective.offsets:
            ranges = intersect(ranges, {number: (bounds,) for number, bounds in effective.offsets.items()})
        return ranges

    def _first_timestamp(self, ranges: OffsetRanges) -> int | None:
        """Return the oldest timestamp among the first messages of the partitions; None if one of these is not known."""
        if self._effective.from_us is not None and self._effective.time_basis is TimeBasis.KAFKA:
            return self._effective.from_us
        heads = {number: head(spans) for number, spans in ranges.items()}
        first_us: dict[int, int] = {}
        for found in self._source.read(Frame, heads):
            first_us.setdefault(found.position.partition, found.timestamp_us)
        # A partition that begins with an aborted transaction may begin at any time.
        return min(first_us.values()) if first_us and first_us.keys() == heads.keys() else None

    def _decisions(self, since_us: int | None) -> Iterator[Decision]:
        read = self._source.records(
            Decision, TimeRange(since_us), on_progress=lambda *at: self._on_progress("decisions", *at)
        )
        for found in read:
            if found.record is not None:
                yield found.record

    def _is_selected(self, found: StoredMessage[Frame]) -> bool:
        effective, frame = self._effective, found.record
        if frame is None:
            wants_fields = effective.cameras or effective.lots or effective.parts or effective.frames
            return not wants_fields and effective.has_time(found.timestamp_us, found.timestamp_us)
        return effective.has_time(found.timestamp_us, frame.captured_at_us) and effective.has_frame(frame)

    def _newest(self, ranges: OffsetRanges, count: int) -> frozenset[tuple[int, int]]:
        """Return the newest selected messages, by their timestamps; search from the ends of the partitions."""
        window = max(_WINDOW, 2 * count)
        while True:
            part = {number: tail(spans, window) for number, spans in ranges.items()}
            newest: list[tuple[int, int, int]] = []
            first_us: dict[int, int] = {}
            for found in self._source.read(Frame, part, on_progress=lambda *at: self._on_progress("newest", *at)):
                partition, offset = found.position.partition, found.position.offset
                first_us.setdefault(partition, found.timestamp_us)
                if self._is_selected(found) and self._effective.has_decision(
                    self._index.find(partition, offset) if self._effective.decided_as else None
                ):
                    heapq.heappush(newest, (found.timestamp_us, partition, offset))
                    if len(newest) > count:
                        heapq.heappop(newest)
            # Messages before a partition's window count as older than its first message.
            rest = [number for number in ranges if total({0: part[number]}) < total({0: ranges[number]})]
            is_full = len(newest) == count
            if not any(not is_full or first_us.get(number, newest[0][0]) > newest[0][0] for number in rest):
                return frozenset((partition, offset) for _, partition, offset in newest)
            window *= 4


def with_episode(source: Source, selection: Selection, on_progress: OnStageProgress = silent) -> Selection:
    """Return the selection with the episode replaced by its camera and times.

    Raises
    ------
    NoSuchEpisode
        If the episode does not exist.
    EmptySelection
        If the episode does not match the other conditions.
    """
    if selection.episode is None:
        return selection
    read = source.records(DriftEvent, on_progress=lambda *at: on_progress("drift", *at))
    found = find_episode(build_episodes(event.record for event in read if event.record is not None), selection.episode)
    camera, begin_us = found.facts.key, found.facts.started_at_us
    if selection.cameras and camera not in selection.cameras:
        raise EmptySelection(f"episode {found.episode_id} is of camera {camera}, which is not among those selected")
    if selection.from_us is not None:
        begin_us = max(begin_us, selection.from_us)
    ends = [end for end in (found.facts.closed_at_us, selection.to_us) if end is not None]
    # The episode ends with the frame that is captured at its closing time.
    end_us = min(ends) + (selection.to_us is None or min(ends) < selection.to_us) if ends else None
    if end_us is not None and begin_us >= end_us:
        raise EmptySelection(f"episode {found.episode_id} is not of the selected time")
    return dataclasses.replace(
        selection, episode=None, cameras=(camera,), from_us=begin_us, to_us=end_us, time_basis=TimeBasis.CAPTURED
    )


def capture_range(effective: Selection) -> tuple[TimeRange, int]:
    """Return the time range of messages about the selected captures, and the extra delay to read.

    The range has no end unless the selection limits the delay.
    """
    begin_us = None if effective.from_us is None else max(0, effective.from_us - SLACK_US)
    end_us = None if effective.to_us is None or effective.late_by_us is None else effective.to_us + effective.late_by_us
    return TimeRange(begin_us, end_us), 0


def head(spans: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    return ((spans[0][0], min(spans[0][0] + _FIRST, spans[0][1])),) if spans else ()


def tail(spans: tuple[tuple[int, int], ...], count: int) -> tuple[tuple[int, int], ...]:
    """Return the last ``count`` offsets.

    Examples
    --------
    >>> tail(((0, 4), (10, 12)), 3)
    ((3, 4), (10, 12))
    """
    kept: list[tuple[int, int]] = []
    for begin, end in reversed(spans):
        if count <= 0:
            break
        kept.append((max(begin, end - count), end))
        count -= end - kept[-1][0]
    return tuple(reversed(kept))
