"""Keeper that opens, follows and closes the episodes of one camera: one episode at a time; further alarms join it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from monitoring.checked import fields, items, numbers
from monitoring.drift.detector_bank import REJECTS, Alarm, DetectorBank, DetectorUpdate, rate_sd
from monitoring.drift.detectors import Shape
from monitoring.drift.kind import kind_of
from monitoring.drift.sensor import SensorCheck
from monitoring.drift.trace import BLOCK_FRAMES, MAX_SIGNALS
from monitoring.drift.tracked_episode import (
    EXAMPLES,
    LEVEL_FRAMES,
    PAST_LEVELS,
    RECOVERED_SD,
    SETTLED_SD,
    UPDATE_FRAMES,
    TrackedEpisode,
    recurs,
)
from schemas.ids import drift_event_id
from schemas.records import WARM_UP, Decision, DriftKind, EpisodeState, SignalChange

_LEVEL_BLOCKS = LEVEL_FRAMES // BLOCK_FRAMES


class EpisodeTracker:
    """Keeper of a camera's open episode, and of the levels of past episodes.

    Parameters
    ----------
    settle_frames
        See `DriftOptions`.
    """

    def __init__(self, settle_frames: int) -> None:
        self._settle_frames = settle_frames
        self.episode: TrackedEpisode | None = None
        self._past: deque[dict[str, float]] = deque(maxlen=PAST_LEVELS)

    def look(
        self,
        decision: Decision,
        looked: DetectorUpdate | None,
        segment: DetectorBank,
        sensor: SensorCheck,
        known: Sequence[str],
        *,
        is_warming: bool = False,
    ) -> tuple[EpisodeState, str] | None:
        """Process results of detectors and sensor check; return the state to publish and a closing reason, if any.

        ``known`` are the ids of the newest frames, this one last. An episode that begins while the camera warms up is
        marked, unless a fault of the sensor begins it.
        """
        alarms, block = (looked.alarms, looked.block) if looked else ([], False)
        episode = self.episode
        if episode is not None:
            episode.frames += 1
            episode.watched += looked is not None
        elif alarms or sensor.cause:
            episode = self.episode = _opened(decision, alarms, segment, sensor, known)
            episode.cause = WARM_UP if is_warming and not sensor.cause else ""
        else:
            return None
        self._join(episode, alarms, segment, sensor)
        if block:
            self._refresh(episode, segment)
        if episode.events == 0:
            return EpisodeState.OPENED, ""
        if why := self._closes(episode, block, segment, sensor):
            return EpisodeState.CLOSED, why
        if episode.news and episode.watched - episode.said_at >= max(UPDATE_FRAMES, episode.said_at // 2):
            return EpisodeState.UPDATED, ""
        return None

    def closed(self) -> None:
        """Record that the closing event has been made: keep the levels, and be ready for the next episode."""
        if self.episode is not None:
            before = {name: self.episode.changes[name].before for name in self.episode.plateau}
            self._past.extend(level for level in (before, self.episode.plateau) if level)
        self.episode = None

    def _join(self, episode: TrackedEpisode, alarms: list[Alarm], segment: DetectorBank, sensor: SensorCheck) -> None:
        if sensor.cause and episode.cause in ("", WARM_UP):
            episode.cause, episode.news = sensor.cause, True
            change = sensor.change(segment.references)
            episode.changes.setdefault(change.signal, change)
        for alarm in alarms:
            known = episode.changes.get(alarm.signal)
            if known is None or known.detector == "sensor":
                means = segment.change(alarm.signal, min(alarm.started, LEVEL_FRAMES))
                episode.changes[alarm.signal] = SignalChange(alarm.signal, alarm.detector, *means)
                episode.news = True
        if not episode.cause and "sharpness" in episode.changes and (alarms or episode.watched % BLOCK_FRAMES == 0):
            last = min(max(BLOCK_FRAMES, episode.watched), LEVEL_FRAMES)
            sharpness, brightness = (segment.trace.mean_score(n, last) for n in ("sharpness", "brightness"))
            if sharpness is not None and sharpness <= -1 and abs(brightness or 0.0) < 0.5:
                episode.cause, episode.news = "out-of-focus", True

    def _refresh(self, episode: TrackedEpisode, segment: DetectorBank) -> None:
        """Update levels, examples and kind at the end of a block."""
        last = min(max(episode.watched, BLOCK_FRAMES), LEVEL_FRAMES)
        for name in episode.data_signals:
            old = episode.changes[name]
            before, after, magnitude_sd = segment.change(name, last)
            if name == REJECTS:  # the frames from before the change leave the trace after a while
                before, magnitude_sd = old.before, (after - old.before) / rate_sd(old.before)
            episode.changes[name] = SignalChange(name, old.detector, before, after, magnitude_sd)
        newest = list(segment.trace.recent)[-last:]
        step = max(1, last // EXAMPLES)
        episode.frames_after = [seen.frame_id for seen in newest[step - 1 :: step]][:EXAMPLES]
        dominant = episode.dominant
        if dominant is None or episode.watched < episode.kind_at:
            return
        episode.kind_at = 2 * episode.watched  # determined again when twice as many frames are known
        blocks = [block for block in segment.trace.blocks if dominant in block.means]
        kind = kind_of([b.means[dominant] for b in blocks], [b.variances[dominant] for b in blocks], BLOCK_FRAMES)
        before_level, after_level = episode.levels()
        episode.plateau = after_level or episode.plateau
        if recurs(after_level, before_level, self._past, segment.sds(before_level)):
            kind = DriftKind.RECURRING
        if kind is not episode.kind:
            episode.kind, episode.news = kind, True

    def _closes(self, episode: TrackedEpisode, block: bool, segment: DetectorBank, sensor: SensorCheck) -> str:
        if sensor.cause:
            return ""
        names = episode.data_signals
        if not names:  # a fault of the sensor that no detector has noticed
            return "recovered"
        if not block or episode.watched < LEVEL_FRAMES:
            return ""
        if all(_has_recovered(episode.changes[name], segment) for name in names):
            return "recovered"
        settled = episode.watched >= self._settle_frames and all(_is_still(name, episode, segment) for name in names)
        return "settled" if settled else ""

    def state(self) -> Any:
        """Return the whole state as JSON."""
        return {"episode": self.episode and self.episode.state(), "past": list(self._past)}

    def restore(self, state: Any, segment: DetectorBank) -> None:
        """Resume from a `state` together with its segment; raise ValueError for anything else."""
        state = fields(state, ("episode", "past"))
        episode = None if state["episode"] is None else TrackedEpisode.restored(state["episode"])
        if episode is not None and not {*episode.data_signals, *episode.plateau} <= {*segment.references, REJECTS}:
            raise ValueError("an episode of a signal that has no reference")
        self.episode = episode
        self._past.extend(numbers(level, MAX_SIGNALS + 1) for level in items(state["past"], PAST_LEVELS))


def _opened(
    decision: Decision, alarms: list[Alarm], segment: DetectorBank, sensor: SensorCheck, known: Sequence[str]
) -> TrackedEpisode:
    if alarms:
        began = max(alarm.started for alarm in alarms)
        started_id, started_at_us = segment.trace.ago(began)
        older = list(segment.trace.recent)[: max(0, len(segment.trace.recent) - began)]
        before = [seen.frame_id for seen in older[-EXAMPLES:]]
    else:
        ids = list(known)
        first = len(ids) - min(sensor.frames, len(ids))
        started_id, started_at_us = ids[first], decision.captured_at_us
        before = ids[max(0, first - EXAMPLES) : first]
    return TrackedEpisode(
        drift_event_id(decision.key, decision.frame_id),
        started_id,
        started_at_us,
        decision.frame_id,
        decision.captured_at_us,
        before,
    )


def _has_recovered(change: SignalChange, segment: DetectorBank) -> bool:
    if abs(change.magnitude_sd) >= RECOVERED_SD:
        return False
    return change.detector != Shape.name or segment.has_its_shape(change.signal)


def _is_still(name: str, episode: TrackedEpisode, segment: DetectorBank) -> bool:
    """Return True if a level is still that of half of the episode ago: over a shorter time a slow drift looks still."""
    levels = [block.means[name] for block in segment.trace.blocks if name in block.means]
    ago = min(episode.watched // 2 // BLOCK_FRAMES, len(levels) - _LEVEL_BLOCKS)
    if ago < _LEVEL_BLOCKS:
        return False
    then = levels[len(levels) - ago - _LEVEL_BLOCKS : len(levels) - ago]
    return abs(sum(levels[-_LEVEL_BLOCKS:]) - sum(then)) / _LEVEL_BLOCKS < SETTLED_SD
