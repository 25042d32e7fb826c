"""Conversion of an episode to the record that is published about it."""

from __future__ import annotations

import math

from monitoring.drift.tracked_episode import EpisodeUpdate, TrackedEpisode
from schemas.ids import drift_event_id
from schemas.records import Decision, DriftEvent, DriftType


def episode_event(
    episode: TrackedEpisode,
    update: EpisodeUpdate,
    decision: Decision,
    *,
    product: str | None,
    now_us: int,
) -> DriftEvent:
    """Return the event about an episode at a decision. The same event again has the same id.

    The caller records the publication, see `EpisodeTracker.record_published`.
    """
    return DriftEvent(
        event_id=drift_event_id(episode.episode_id, episode.events + 1),
        episode_id=episode.episode_id,
        state=update.state,
        drift_type=DriftType.DATA,
        kind=episode.kind,
        cause=episode.cause,
        is_simulated=decision.is_simulated,
        line=decision.line,
        station=decision.station,
        camera_id=decision.camera_id,
        product=product,
        reason=episode.reason(),
        signals=tuple(change for change in episode.by_size() if math.isfinite(change.after)),
        started_frame_id=episode.started_frame_id,
        started_at_us=episode.started_at_us,
        detected_frame_id=episode.detected_frame_id,
        detected_at_us=episode.detected_at_us,
        frames=episode.frames,
        frames_before=episode.frames_before,
        frames_after=episode.frames_after or (decision.frame_id,),
        closed_at_us=decision.captured_at_us if update.reason else None,
        closed_because=update.reason,
        model_name=decision.model_name,
        model_version=decision.model_version,
        model_sha256=decision.model_sha256,
        recipe_id=decision.recipe_id,
        recipe_revision=decision.recipe_revision,
        emitted_at_us=now_us,
        source_topic=decision.source_topic,
        source_partition=decision.source_partition,
        source_offset=decision.source_offset,
    )
