"""Tracker that opens, follows and closes the episodes of one camera: one episode at a time; further alarms join it.

The tracker is a function of what was observed. For each `Observation` it takes these steps, in this order:

1. if no episode is open, an alarm or a fault of the sensor opens one; otherwise the open episode has one frame more;
2. the fault and the alarms join the episode;
3. at the end of a block, levels, examples and kind are determined again;
4. the result is the publication that is due, or None.

=====================================================================  ===========================
first of these that is true                                            publication
=====================================================================  ===========================
nothing was published about the episode                                OPENED
the fault of the sensor is over, and no detector has noticed it        CLOSED (``recovered``)
all signals are at the reference again, and no fault lasts             CLOSED (``recovered``)
the episode is old, its signals stay where they are, no fault lasts    CLOSED (``settled``)
there is something to report, and the last publication is long ago     UPDATED
=====================================================================  ===========================

Two states are kept: the open episode, and the levels of past episodes. Both change in `EpisodeTracker` only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from monitoring.checked import fields, items, numbers
from monitoring.drift.detectors import Shape
from monitoring.drift.kind import kind_of
from monitoring.drift.levels import REJECTS, Levels, rate_sd
from monitoring.drift.observation import Observation
from monitoring.drift.trace import BLOCK_FRAMES, MAX_SIGNALS
from monitoring.drift.tracked_episode import (
    EXAMPLES,
    LEVEL_FRAMES,
    PAST_LEVELS,
    RECOVERED_SD,
    SETTLED_SD,
    UPDATE_FRAMES,
    EpisodeUpdate,
    Level,
    TrackedEpisode,
    recurs,
)
from schemas.ids import drift_event_id
from schemas.records import WARM_UP, DriftKind, EpisodeState, SignalChange

_LEVEL_BLOCKS = LEVEL_FRAMES // BLOCK_FRAMES


class EpisodeTracker:
    """Open episode of a camera, and the levels of its past episodes.

    Parameters
    ----------
    settle_frames
        See `DriftOptions`.
    """

    def __init__(self, settle_frames: int) -> None:
        self._settle_frames = settle_frames
        self._episode: TrackedEpisode | None = None
        self._past: deque[Level] = deque(maxlen=PAST_LEVELS)

    @property
    def episode(self) -> TrackedEpisode | None:
        """Open episode, if there is one."""
        return self._episode

    def update(self, seen: Observation) -> EpisodeUpdate | None:
        """Process a frame; return the publication that is due, or None.

        The caller publishes it and then calls `record_published`. An episode that begins while the camera warms up is
        marked, unless a fault of the sensor begins it.
        """
        episode = self._episode
        if episode is not None:
            episode = replace(episode, frames=episode.frames + 1, watched=episode.watched + seen.is_watched)
        elif seen.alarms or seen.fault:
            episode = _opened(seen)
        else:
            return None
        episode = _joined(episode, seen)
        if seen.completes_block:
            episode = _measured(episode, seen.levels, self._past)
        self._episode = episode
        return _due(episode, seen, self._settle_frames)

    def record_published(self, update: EpisodeUpdate) -> None:
        """Record that the result of `update` was published. A closed episode leaves its levels behind."""
        episode = self._episode
        if episode is None:
            return
        if update.state is EpisodeState.CLOSED:
            before = {name: episode.changes[name].before for name in episode.plateau}
            self._past.extend(level for level in (before, episode.plateau) if level)
            self._episode = None
        else:
            self._episode = replace(
                episode, events=episode.events + 1, published_at_frame=episode.watched, has_unpublished=False
            )

    def discard(self) -> None:
        """Drop the open episode without its levels, because a reset ends it."""
        self._episode = None

    def state(self) -> Any:
        """Return the whole state as JSON."""
        return {"episode": self._episode and self._episode.state(), "past": list(self._past)}

    def restore(self, state: Any, signals: Iterable[str]) -> None:
        """Resume from a `state` of a camera with references of ``signals``; raise ValueError for anything else."""
        state = fields(state, ("episode", "past"))
        episode = None if state["episode"] is None else TrackedEpisode.restored(state["episode"])
        if episode is not None and not {*episode.data_signals, *episode.plateau} <= {*signals, REJECTS}:
            raise ValueError("an episode of a signal that has no reference")
        self._episode = episode
        self._past.extend(numbers(level, MAX_SIGNALS + 1) for level in items(state["past"], PAST_LEVELS))


def _opened(seen: Observation) -> TrackedEpisode:
    if seen.alarms:
        began = max(alarm.started for alarm in seen.alarms)
        recent = seen.levels.recent
        started_id, started_at_us = seen.levels.ago(began)
        before = tuple(frame.frame_id for frame in recent[: max(0, len(recent) - began)][-EXAMPLES:])
    else:
        assert seen.fault is not None
        first = len(seen.recent_ids) - min(seen.fault.frames, len(seen.recent_ids))
        started_id, started_at_us = seen.recent_ids[first], seen.captured_at_us
        before = seen.recent_ids[max(0, first - EXAMPLES) : first]
    return TrackedEpisode(
        episode_id=drift_event_id(seen.camera, seen.frame_id),
        started_frame_id=started_id,
        started_at_us=started_at_us,
        detected_frame_id=seen.frame_id,
        detected_at_us=seen.captured_at_us,
        frames_before=before,
        cause=WARM_UP if seen.is_warming and not seen.fault else "",
    )


def _joined(episode: TrackedEpisode, seen: Observation) -> TrackedEpisode:
    """Return the episode with the fault of the sensor, and with the signals that have alarmed."""
    cause, changes, has_unpublished = episode.cause, dict(episode.changes), episode.has_unpublished
    if seen.fault and cause in ("", WARM_UP):
        cause, has_unpublished = seen.fault.cause, True
        changes.setdefault(seen.fault.change.signal, seen.fault.change)
    for alarm in seen.alarms:
        known = changes.get(alarm.signal)
        if known is None or known.detector == "sensor":
            means = seen.levels.change(alarm.signal, min(alarm.started, LEVEL_FRAMES))
            changes[alarm.signal] = SignalChange(alarm.signal, alarm.detector, *means)
            has_unpublished = True
    is_time = bool(seen.alarms) or episode.watched % BLOCK_FRAMES == 0
    if not cause and "sharpness" in changes and is_time and _is_out_of_focus(episode, seen.levels):
        cause, has_unpublished = "out-of-focus", True
    return replace(episode, cause=cause, changes=changes, has_unpublished=has_unpublished)


def _is_out_of_focus(episode: TrackedEpisode, levels: Levels) -> bool:
    sharpness, brightness = (levels.mean_score(name, _level_frames(episode)) for name in ("sharpness", "brightness"))
    return sharpness is not None and sharpness <= -1 and abs(brightness or 0.0) < 0.5


def _measured(episode: TrackedEpisode, levels: Levels, past: Sequence[Level]) -> TrackedEpisode:
    """Return the episode with the levels, the examples and the kind at the end of a block."""
    last = _level_frames(episode)
    changes = dict(episode.changes)
    for name in episode.data_signals:
        old = changes[name]
        before, after, magnitude_sd = levels.change(name, last)
        if name == REJECTS:  # the frames from before the change leave the trace after a while
            before, magnitude_sd = old.before, (after - old.before) / rate_sd(old.before)
        changes[name] = SignalChange(name, old.detector, before, after, magnitude_sd)
    step = max(1, last // EXAMPLES)
    newest = levels.recent[-last:][step - 1 :: step][:EXAMPLES]
    episode = replace(episode, changes=changes, frames_after=tuple(frame.frame_id for frame in newest))
    dominant = episode.dominant
    if dominant is None or episode.watched < episode.kind_at:
        return episode
    blocks = [block for block in levels.blocks if dominant in block.means]
    kind = kind_of([b.means[dominant] for b in blocks], [b.variances[dominant] for b in blocks], BLOCK_FRAMES)
    before_level, after_level = episode.levels()
    if recurs(after_level, before_level, past, levels.sds(before_level)):
        kind = DriftKind.RECURRING
    return replace(
        episode,
        kind=kind,
        kind_at=2 * episode.watched,  # determined again when twice as many frames are known
        plateau=after_level or episode.plateau,
        has_unpublished=episode.has_unpublished or kind is not episode.kind,
    )


def _level_frames(episode: TrackedEpisode) -> int:
    """Return the number of watched frames over which the present levels are computed."""
    return min(max(episode.watched, BLOCK_FRAMES), LEVEL_FRAMES)


def _due(episode: TrackedEpisode, seen: Observation, settle_frames: int) -> EpisodeUpdate | None:
    if episode.events == 0:
        return EpisodeUpdate(EpisodeState.OPENED)
    if reason := _closing_reason(episode, seen, settle_frames):
        return EpisodeUpdate(EpisodeState.CLOSED, reason)
    pause = max(UPDATE_FRAMES, episode.published_at_frame // 2)
    if episode.has_unpublished and episode.watched - episode.published_at_frame >= pause:
        return EpisodeUpdate(EpisodeState.UPDATED)
    return None


def _closing_reason(episode: TrackedEpisode, seen: Observation, settle_frames: int) -> str:
    if seen.fault:
        return ""
    names = episode.data_signals
    if not names:  # a fault of the sensor that no detector has noticed
        return "recovered"
    if not seen.completes_block or episode.watched < LEVEL_FRAMES:
        return ""
    if all(_has_recovered(episode.changes[name], seen.levels) for name in names):
        return "recovered"
    settled = episode.watched >= settle_frames and all(_is_still(name, episode, seen.levels) for name in names)
    return "settled" if settled else ""


def _has_recovered(change: SignalChange, levels: Levels) -> bool:
    if abs(change.magnitude_sd) >= RECOVERED_SD:
        return False
    return change.detector != Shape.name or change.signal not in levels.unusual_shapes


def _is_still(name: str, episode: TrackedEpisode, levels: Levels) -> bool:
    """Return True if a level is still that of half of the episode ago: over a shorter time a slow drift looks still."""
    means = levels.block_means(name)
    ago = min(episode.watched // 2 // BLOCK_FRAMES, len(means) - _LEVEL_BLOCKS)
    if ago < _LEVEL_BLOCKS:
        return False
    then = means[len(means) - ago - _LEVEL_BLOCKS : len(means) - ago]
    return abs(sum(means[-_LEVEL_BLOCKS:]) - sum(then)) / _LEVEL_BLOCKS < SETTLED_SD
