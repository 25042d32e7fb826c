"""All that is watched of one camera, data and concept, with the offsets it has come to. No Kafka, no Faust."""

from __future__ import annotations

import json
import logging

from schemas.clock import Clock
from schemas.records import Decision, DriftEvent, Label
from stream_processors.drift import CameraWatch, DriftOptions, ReferencesOf, StateError
from stream_processors.drift.concept import At, ConceptEpisodes
from stream_processors.quality.monitor import ConceptMonitor
from stream_processors.quality.snapshot import StateError as QualityStateError
from stream_processors.watch_state import Snapshot

log = logging.getLogger(__name__)

_US_PER_HOUR = 3_600_000_000


class WatchedCamera:
    """One camera of `inspection watch`.

    Parameters
    ----------
    key
        ``station/camera``.
    references_of, options
        See `CameraWatch`.
    max_age_h
        Older decisions are not watched for data drift, in hours: what a first start finds in the topic is history.
    """

    def __init__(
        self, key: str, references_of: ReferencesOf, options: DriftOptions, clock: Clock, max_age_h: float
    ) -> None:
        self.key = key
        self._references_of = references_of
        self._options = options
        self._clock = clock
        self._max_age_us = max_age_h * _US_PER_HOUR
        self.watch = CameraWatch(references_of, options)
        self.quality = ConceptMonitor(key)
        self._concept: ConceptEpisodes | None = None
        self._offsets: dict[str, int] = {}
        #: Whether something has been seen since the last snapshot.
        self.is_dirty = False

    @property
    def in_episode(self) -> bool:
        """Whether an episode of data or concept drift is open."""
        return self.watch.in_episode or (self._concept is not None and self._concept.is_open)

    def has_seen(self, topic: str, offset: int) -> bool:
        """Whether a message lies below what has been seen: it is read again after a crash."""
        return offset < self._offsets.get(topic, 0)

    def decision(self, decision: Decision, at: At) -> list[DriftEvent]:
        """Take a decision."""
        self._move(at)
        if self._concept is None:
            self._concept = ConceptEpisodes(decision.line, decision.station, decision.camera_id)
        if self._clock.utc_us() - decision.decided_at_us > self._max_age_us:
            self.watch.counts["history"] += 1
            events = []
        else:
            resets = self.watch.counts["resets"]
            events = self.watch.decision(decision, now_us=at.now_us)
            if self.watch.counts["resets"] > resets:
                log.info("%s: %s", self.key, self.watch.last_reset)
        if decision.model_stage == "champion" and not decision.is_simulated:
            events += self._concept.decider(decision, at)
            events += self._concept.alarms(self.quality.decision(decision), at)
        return events

    def label(self, label: Label, at: At) -> list[DriftEvent]:
        """Take a label."""
        self._move(at)
        if self._concept is None:
            self._concept = ConceptEpisodes(label.line, label.station, label.camera_id)
        events = self._concept.alarms(self.quality.label(label), at)
        if self._concept.is_open:
            events += self._concept.recovered(self.quality.streams, at)
        return events

    def _move(self, at: At) -> None:
        self._offsets[at.topic] = at.offset + 1
        self.is_dirty = True

    def snapshot(self) -> bytes:
        """For the state topic."""
        concept = b"" if self._concept is None else json.dumps(self._concept.state()).encode()
        states = {"data": self.watch.state(), "quality": self.quality.state(), "concept": concept}
        return Snapshot(self._offsets, states).dumps()

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot. A part that is of another version begins anew, and says so in the log."""
        self._offsets = dict(snapshot.offsets)
        try:
            self.watch = CameraWatch.restored(snapshot.states.get("data", b""), self._references_of, self._options)
        except StateError as error:
            log.warning("%s: the detectors begin anew: %s", self.key, error)
        try:
            if snapshot.states.get("quality"):
                self.quality.restore(snapshot.states["quality"])
        except QualityStateError as error:
            log.warning("%s: the figures of labels begin anew: %s", self.key, error)
        try:
            if snapshot.states.get("concept"):
                self._concept = ConceptEpisodes.restored(json.loads(snapshot.states["concept"]))
        except (ValueError, TypeError, KeyError) as error:
            log.warning("%s: episodes of concept drift begin anew: %s", self.key, error)

    def close(self) -> None:
        """Let go of what is kept."""
        self.quality.close()
