"""Quality of a range: decisions joined with labels, to measure the line and to find the frames to label next."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from monitoring.quality.concept_monitor import ConceptMonitor
from monitoring.quality.error_monitor import ConceptAlarm
from monitoring.quality.outcome import is_of_line
from monitoring.quality.outcome import reason as reason_of
from monitoring.quality.outcome_store import TEMPORARY_FILE
from monitoring.quality.sampling import BAND, RANDOM_SHARE, review_priority, review_reason
from replay.past.source import Source
from schemas.clock import SystemClock, clamp_future
from schemas.part_ids import real_part_id
from schemas.records import Action, Decision, DriftEvent, Label
from transport.topic_ranges import OnStageProgress, TimeRange

#: Time before a decision in which its label may have been published, as in a test with known parts.
LABELS_BEFORE_US = 3_600_000_000
MAX_LABELS = 1_000_000
#: Maximum number of cameras of a report, in order of appearance: each takes about 200 kB. Any writer can name more.
MAX_CAMERAS = 500
#: Time before the range in which an episode of drift may have begun to be considered.
_EPISODES_BEFORE_US = 30 * 24 * LABELS_BEFORE_US
_MAX_EPISODES = 10_000

R = TypeVar("R", Decision, Label, DriftEvent)


@dataclass(slots=True)
class QualityReport:
    """Quality of a range: a monitor of each camera by ``station/camera``, and the alarms in order of detection.

    ``left_out`` counts labels and decisions of cameras beyond the `MAX_CAMERAS` first ones.
    """

    monitors: dict[str, ConceptMonitor] = field(default_factory=dict)
    alarms: list[ConceptAlarm] = field(default_factory=list)
    unreadable: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """Decision without a label, with the reason to label it, and how informative the label would be, in [0, 1]."""

    decision: Decision
    reason: str
    priority: float


def read_quality(
    source: Source,
    within: TimeRange | None = None,
    *,
    camera: str | None = None,
    on_progress: OnStageProgress = lambda topic, done, total: None,
) -> QualityReport:
    """Join the decisions of a range with their labels, which may be published at any later time.

    Labels are read first and kept in a temporary file: memory does not grow with the range. For each camera the newest
    `MAX_LABELS` labels count. At most `MAX_CAMERAS` cameras are reported, the others are counted; ``camera`` selects
    one.

    Parameters
    ----------
    source
        Topics, archive, or both.
    within
        Range of the decisions, by the time they reached Kafka. Labels are read from an hour before it to the end.
    camera
        Use only this camera, as ``station/camera``.
    on_progress
        Called with the topic, messages read, messages to read.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If a topic cannot be read.
    """
    within = within or TimeRange()
    report = QualityReport()

    def unreadable() -> None:
        report.unreadable += 1

    def monitor(key: str) -> ConceptMonitor | None:
        if key not in report.monitors:
            if len(report.monitors) >= MAX_CAMERAS:
                report.left_out += 1
                return None
            report.monitors[key] = ConceptMonitor(key, max_labels=MAX_LABELS, path=TEMPORARY_FILE)
        return report.monitors[key]

    read = partial(_read, source, camera=camera, on_progress=on_progress, on_unreadable=unreadable)
    for label, written_us in read(Label, _since(within, LABELS_BEFORE_US)):
        if (of_camera := monitor(label.key)) is not None:
            report.alarms += of_camera.label(label, written_us)
    for decision, _ in read(Decision, within):
        if (of_camera := monitor(decision.key)) is not None:
            report.alarms += of_camera.decision(decision)
    report.monitors = dict(sorted(report.monitors.items()))
    report.alarms.sort(key=lambda alarm: alarm.detected_at_us)
    return report


def find_candidates(
    source: Source,
    within: TimeRange | None = None,
    *,
    camera: str | None = None,
    limit: int = 50,
    random_share: float = RANDOM_SHARE,
    band: float = BAND,
    on_progress: OnStageProgress = lambda topic, done, total: None,
) -> list[Candidate]:
    """Return the unlabelled frames of a range that are most worth a label, by priority, then the newest first.

    Memory: about 70 bytes for each label since the start of the range, and ``limit`` decisions.

    Parameters
    ----------
    source, within, camera, on_progress
        See `read_quality`.
    random_share, band
        See `monitoring.quality.sampling.review_reason`.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If a topic cannot be read.
    """
    within = within or TimeRange()
    read = partial(_read, source, camera=camera, on_progress=on_progress)
    now_us = SystemClock().utc_us()
    labelled = _Labelled()
    for label, _ in read(Label, _since(within, LABELS_BEFORE_US)):
        labelled.add(label)
    episodes: dict[str, DriftEvent] = {}
    for event, _ in read(DriftEvent, _since(within, _EPISODES_BEFORE_US)):
        episodes[event.episode_id] = event
        if len(episodes) > _MAX_EPISODES:
            del episodes[next(iter(episodes))]
    of_camera: dict[str, list[DriftEvent]] = {}
    for event in episodes.values():
        of_camera.setdefault(event.key, []).append(event)
    best: list[tuple[float, int, str]] = []
    kept: dict[str, Candidate] = {}
    for decision, _ in read(Decision, within):
        if not is_of_line(decision) or decision.frame_id in kept:
            continue
        in_episode = any(_is_open(event, decision) for event in of_camera.get(decision.key, ()))
        reason = review_reason(decision, in_episode=in_episode, random_share=random_share, band=band)
        if reason is None or labelled.has(decision, reason):
            continue
        priority = review_priority(decision, in_episode=in_episode, random_share=random_share, band=band)
        heapq.heappush(best, (priority, clamp_future(decision.captured_at_us, now_us), decision.frame_id))
        kept[decision.frame_id] = Candidate(decision, reason, priority)
        if len(best) > limit:
            del kept[heapq.heappop(best)[2]]
    return [kept[frame_id] for *_, frame_id in sorted(best, reverse=True)]


def _read(
    source: Source,
    record: type[R],
    within: TimeRange,
    *,
    camera: str | None,
    on_progress: OnStageProgress,
    on_unreadable: Callable[[], object] = lambda: None,
) -> Iterator[tuple[R, int]]:
    """Yield the records of one camera or all, with the time of writing (UTC µs) of each."""
    name = source.topic(record).rpartition(".")[2]
    for found in source.indexed(
        record,
        within,
        on_progress=lambda *at: on_progress(name, *at),
        on_unreadable=lambda batch: on_unreadable(),
    ):
        if found.record is None:
            on_unreadable()
        elif camera in (None, found.record.key):
            yield found.record, found.timestamp_us


def _since(within: TimeRange, before_us: int) -> TimeRange:
    return TimeRange(None if within.from_us is None else max(0, within.from_us - before_us))


def _is_open(event: DriftEvent, decision: Decision) -> bool:
    ends_us = event.closed_at_us
    return event.started_at_us <= decision.captured_at_us and (ends_us is None or decision.captured_at_us <= ends_us)


class _Labelled:
    """Hashes of the labelled frames and parts."""

    def __init__(self) -> None:
        self._any: set[int] = set()
        self._random: set[int] = set()

    def add(self, label: Label) -> None:
        name = (
            self._part(label.key, label.part_id) if label.frame_id is None else self._frame(label.key, label.frame_id)
        )
        self._any.add(name)
        if reason_of(label.sampled_because) == "random":
            self._random.add(name)

    def has(self, decision: Decision, why: str) -> bool:
        """Return True if there is already a label.

        An accepted part that is drawn blindly needs a label even if it was already labelled for another reason: without
        these parts, the others would not be a sample.
        """
        known = self._random if why == "random" and decision.action is Action.ACCEPT else self._any
        return (
            self._frame(decision.key, decision.frame_id) in known or self._part(decision.key, decision.part_id) in known
        )

    def _frame(self, camera: str, frame_id: str) -> int:
        return _hash(f"{camera}\0frame {frame_id}")

    def _part(self, camera: str, part_id: str | None) -> int:
        part_id = real_part_id(part_id)
        return -1 if part_id is None else _hash(f"{camera}\0part {part_id}")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
