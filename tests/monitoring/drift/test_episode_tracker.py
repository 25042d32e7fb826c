"""Tracker of episodes, by observations alone: no detectors, no decisions."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from models.reference import SignalReference
from monitoring.drift.detector_bank import Alarm
from monitoring.drift.episode_tracker import EpisodeTracker
from monitoring.drift.event import episode_event
from monitoring.drift.levels import Levels
from monitoring.drift.observation import Observation
from monitoring.drift.sensor import SensorFault
from monitoring.drift.trace import Block, WatchedFrame
from monitoring.drift.tracked_episode import EpisodeUpdate, TrackedEpisode
from schemas.records import WARM_UP, DriftKind, EpisodeState, SignalChange
from tests.support.records import DECISION

OPENED, UPDATED = EpisodeUpdate(EpisodeState.OPENED), EpisodeUpdate(EpisodeState.UPDATED)
RECOVERED, SETTLED = EpisodeUpdate(EpisodeState.CLOSED, "recovered"), EpisodeUpdate(EpisodeState.CLOSED, "settled")
REFERENCE = {"brightness": SignalReference((0.0, 300.0), mean=150.0, sd=20.0, images=1000, resolution=1.0)}
ALARM = Alarm("brightness", "page-hinkley", 5)
FROZEN = SensorFault("frozen", 5, SignalChange("dhash_distance", "sensor", 30.0, 0.0, 0.0))


def levels(score: float) -> Levels:
    """Return levels of a camera whose brightness has been off by ``score`` standard deviations for a long time."""
    value, numbers = {"brightness": 150 + 20 * score}, {"brightness": score}
    frames = tuple(WatchedFrame(f"f{number}", number, value, numbers) for number in range(300))
    blocks = tuple(Block(f"b{number}", number, numbers, {"brightness": 1.0}) for number in range(40))
    return Levels(frames, blocks, 0, REFERENCE)


NORMAL, DARK = levels(0.0), levels(-1.0)
PLAIN = Observation(
    camera="press/top",
    frame_id="now",
    captured_at_us=7,
    recent_ids=tuple(f"r{number}" for number in range(10)),
    is_warming=False,
    is_watched=True,
    alarms=(),
    completes_block=False,
    fault=None,
    levels=NORMAL,
)


def seen(**changes: Any) -> Observation:
    return dataclasses.replace(PLAIN, **changes)


def published(tracker: EpisodeTracker, observation: Observation, times: int = 1) -> list[EpisodeUpdate]:
    """Update with the same observation several times; record and return the publications."""
    updates = []
    for _ in range(times):
        update = tracker.update(observation)
        if update is not None:
            tracker.record_published(update)
            updates.append(update)
    return updates


def test_without_alarm_or_fault_there_is_no_episode():
    tracker = EpisodeTracker(1000)
    assert published(tracker, seen(completes_block=True, is_warming=True), 3) == []
    assert tracker.episode is None


@pytest.mark.parametrize(
    ("observation", "started", "before", "cause"),
    [
        (seen(alarms=(ALARM,), levels=DARK), "f295", ("f292", "f293", "f294"), ""),
        (seen(alarms=(ALARM,), levels=DARK, is_warming=True), "f295", ("f292", "f293", "f294"), WARM_UP),
        (seen(fault=FROZEN), "r5", ("r2", "r3", "r4"), "frozen"),
        (seen(fault=FROZEN, is_warming=True), "r5", ("r2", "r3", "r4"), "frozen"),
        (seen(fault=FROZEN, recent_ids=("r0", "r1")), "r0", (), "frozen"),
    ],
    ids=["alarm", "alarm in a warm-up", "fault", "fault in a warm-up", "fault of the first frames"],
)
def test_an_episode_is_opened(observation, started, before, cause):
    tracker = EpisodeTracker(1000)
    assert published(tracker, observation) == [OPENED]
    assert tracker.episode is not None
    assert (tracker.episode.started_frame_id, tracker.episode.frames_before) == (started, before)
    assert (tracker.episode.detected_frame_id, tracker.episode.cause) == ("now", cause)


def test_an_opening_is_due_until_it_is_recorded():
    tracker = EpisodeTracker(1000)
    assert tracker.update(seen(alarms=(ALARM,))) == OPENED
    assert tracker.update(PLAIN) == OPENED
    tracker.record_published(OPENED)
    assert tracker.update(PLAIN) is None


def test_a_further_signal_is_published_after_a_pause():
    tracker = EpisodeTracker(1000)
    published(tracker, seen(fault=FROZEN))
    assert published(tracker, seen(fault=FROZEN, alarms=(ALARM,), levels=DARK)) == []
    assert published(tracker, seen(fault=FROZEN, levels=DARK), 48) == []
    assert published(tracker, seen(fault=FROZEN, levels=DARK)) == [UPDATED]
    assert published(tracker, seen(fault=FROZEN, levels=DARK), 100) == []


@pytest.mark.parametrize(
    ("fault", "newest", "settle_frames", "closing"),
    [
        (None, NORMAL, 1000, RECOVERED),
        (None, dataclasses.replace(NORMAL, unusual_shapes=frozenset(["contrast"])), 1000, RECOVERED),
        (None, DARK, 400, SETTLED),
        (None, DARK, 1000, None),
        (FROZEN, NORMAL, 1000, None),
        (FROZEN, DARK, 400, None),
    ],
    ids=["recovered", "shape of another signal", "settled", "young", "recovered with a fault", "old with a fault"],
)
def test_an_episode_is_closed(fault, newest, settle_frames, closing):
    tracker = EpisodeTracker(settle_frames)
    published(tracker, seen(alarms=(ALARM,), levels=DARK))
    published(tracker, seen(levels=DARK), 399)
    assert set(published(tracker, seen(levels=newest, fault=fault))) <= {UPDATED}  # the block is not complete
    updates = published(tracker, seen(levels=newest, fault=fault, completes_block=True))
    assert [update for update in updates if update != UPDATED] == ([closing] if closing else [])
    assert (tracker.episode is None) == (closing is not None)


def test_a_shape_that_is_unusual_has_not_recovered():
    tracker = EpisodeTracker(1000)
    published(tracker, seen(alarms=(Alarm("brightness", "shape", 200),)))
    unusual = dataclasses.replace(NORMAL, unusual_shapes=frozenset(["brightness"]))
    published(tracker, seen(levels=unusual), 399)
    assert RECOVERED not in published(tracker, seen(levels=unusual, completes_block=True))
    assert RECOVERED in published(tracker, seen(completes_block=True))


@pytest.mark.parametrize(("is_discarded", "kind"), [(False, DriftKind.RECURRING), (True, DriftKind.SUDDEN)])
def test_levels_of_a_closed_episode_are_known_and_those_of_a_discarded_one_are_not(is_discarded, kind):
    tracker = EpisodeTracker(10_000)
    for _ in range(2):
        published(tracker, seen(alarms=(ALARM,), levels=DARK))
        published(tracker, seen(levels=DARK), 200)
        published(tracker, seen(levels=DARK, completes_block=True))
        assert tracker.episode is not None
        found = tracker.episode.kind
        if is_discarded:
            tracker.discard()
        else:
            assert published(tracker, seen(completes_block=True)) == [RECOVERED]
        assert tracker.episode is None
    assert found is kind


def test_an_event_changes_nothing():
    tracker = EpisodeTracker(1000)
    tracker.update(seen(alarms=(ALARM,), levels=DARK))
    before = tracker.state()
    first, second = (
        episode_event(episode_of(tracker), OPENED, DECISION, product=None, now_us=1) for _ in range(2)
    )  # fmt: skip
    assert first == second
    assert tracker.state() == before
    tracker.record_published(OPENED)
    third = episode_event(episode_of(tracker), UPDATED, DECISION, product=None, now_us=1)
    assert third.event_id != first.event_id
    assert third.episode_id == first.episode_id


def episode_of(tracker: EpisodeTracker) -> TrackedEpisode:
    assert tracker.episode is not None
    return tracker.episode
