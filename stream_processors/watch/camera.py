"""Watch of one camera, for data drift and concept drift, with the offsets that it has reached. No Kafka, no Faust."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping

from monitoring.bounded_json import parse
from monitoring.drift import CameraWatch, DriftOptions, ReferencesOf, StateError
from monitoring.drift.concept import ConceptEpisodes, EventOrigin
from monitoring.quality.concept_monitor import ConceptMonitor
from schemas.clock import Clock, clamp_future
from schemas.records import Decision, DriftEvent, Label
from stream_processors.watch.state import Snapshot

log = logging.getLogger(__name__)

_US_PER_HOUR = 3_600_000_000
_MAX_CONCEPT_BYTES = 1024 * 1024
#: Longest name of a part, lot, defect and so on. Records with longer names are not watched, but counted.
_MAX_NAME = 1000
#: Number of unwatched decisions in a row from which on they are reported.
UNWATCHED = 100
#: Interval at which the same report on a camera is repeated, in seconds.
_REPORT_S = 600.0


class WatchedCamera:
    """Camera of `inspection watch`.

    Parameters
    ----------
    key
        ``station/camera``.
    references_of, options
        See `CameraWatch`.
    max_age_h
        Decisions of the past that are older than this, in hours, are not watched for data drift: those that the first
        start finds in the topic are history. Later ones are watched, whatever the clocks say.
    partition
        Partition of its messages, and so of its snapshots. Several partitions may contain the same key: anyone can
        write to any partition.
    """

    def __init__(
        self,
        key: str,
        references_of: ReferencesOf,
        options: DriftOptions,
        clock: Clock,
        max_age_h: float,
        partition: int | None = None,
    ) -> None:
        self.key = key
        self.partition = partition
        self._references_of = references_of
        self._options = options
        self._clock = clock
        self._max_age_us = max_age_h * _US_PER_HOUR
        self.watch = CameraWatch(references_of, options)
        self.quality = ConceptMonitor(key, clock=clock)
        self._concept: ConceptEpisodes | None = None
        self._offsets: dict[str, int] = {}
        #: Kafka's ids of the topics of these offsets.
        self.topic_ids: dict[str, str] = {}
        #: Ends of these topics when this process began to read them: what lies before is of the past.
        self.past_ends: Mapping[str, int] = {}
        self._unwatched: Counter[str] = Counter()
        self._logged_at_s: dict[str, float] = {}
        #: True if the camera has processed a message since the last snapshot.
        self.is_dirty = False
        #: True if the state topic has a snapshot of the camera.
        self.is_kept = False

    @property
    def in_episode(self) -> bool:
        """True if an episode of data drift or concept drift is open."""
        return self.watch.in_episode or (self._concept is not None and self._concept.is_open)

    @property
    def unwatched(self) -> int:
        """Newest decisions in a row that were not watched, or that came in a warm-up or soon after a reset."""
        return self._unwatched.total()

    def has_seen(self, topic: str, offset: int) -> bool:
        """Return True if a message was processed before: it is read again after a crash."""
        return offset < self._offsets.get(topic, 0)

    def read_again(self) -> None:
        """Record a message for which `has_seen` is true. After a crash a few are read again; many are a fault."""
        self._skipped("seen-before")

    def decision(self, decision: Decision, origin: EventOrigin) -> list[DriftEvent]:
        """Process a decision; return the events that follow from it."""
        self._move(origin)
        if _longest(decision.part_id, decision.lot, decision.line, decision.station, decision.camera_id,
                    decision.frame_id, decision.model_name, decision.model_version, decision.model_sha256,
                    decision.recipe_id, decision.recipe_revision) > _MAX_NAME:  # fmt: skip
            self._skipped("names-too-long")
            self.watch.counts["names-too-long"] += 1
            return []
        if self._concept is None:
            self._concept = ConceptEpisodes(decision.line, decision.station, decision.camera_id)
        is_old = self._clock.utc_us() - decision.decided_at_us > self._max_age_us
        if is_old and origin.offset < self.past_ends.get(origin.topic, math.inf):
            self.watch.counts["history"] += 1
            self._skipped("history")
            events = []
        else:
            if is_old:
                self.watch.counts["long-ago"] += 1
                about = "decisions of now have a time of long ago: the clock of the worker or of this machine is wrong"
                self._report(logging.WARNING, "long-ago", about)
            events = self._watched(decision, origin)
        if decision.model_stage == "champion" and not decision.is_simulated:
            events += self._concept.decider(decision, origin)
            events += self._concept.alarms(self.quality.decision(decision), origin)
        return events

    def _watched(self, decision: Decision, origin: EventOrigin) -> list[DriftEvent]:
        counts = self.watch.counts
        before = counts.copy()
        events = self.watch.decision(decision, now_us=origin.now_us)
        new = {name for name in counts if counts[name] != before[name]}
        if "watched" in new and not new & _HALF_WATCHED:
            self._unwatched.clear()
        else:
            self._skipped(min(new & (_SKIPPED | _HALF_WATCHED), default="not-watched"))
        if "warm-up-again" in new:
            about = (
                "a warm-up follows another one without a normal frame between them "
                f"({counts['warm-up-again']} in all): is --warm-up-gap shorter than the time between two parts?"
            )
            self._report(logging.WARNING, "warm-up-again", about)
        if "clock-back" in new:
            self._report(
                logging.WARNING, "clock-back", "the camera's clock went back: the detectors begin from scratch"
            )
        elif "resets" in new:
            self._report(logging.INFO, "resets", f"{self.watch.last_reset} ({counts['resets']} in all)", 60.0)
        if "second-producer" in new:
            about = (
                "two producers send under this name at the same time. The one that started later is watched, the other "
                f"is not ({counts['second-producer']} decisions so far): give each camera a name of its own"
            )
            self._report(logging.WARNING, "second-producer", about)
        if "ahead" in new:
            about = "the camera's clock is ahead by more than five minutes: the order of its starts is not known"
            self._report(logging.WARNING, "ahead", about)
        if "forgotten-products" in new:
            about = (
                f"more than {self._options.max_products} products: the one unseen for longest is forgotten "
                f"({counts['forgotten-products']} in all); --max-products sets the number"
            )
            self._report(logging.WARNING, "forgotten-products", about)
        return events

    def _skipped(self, why: str) -> None:
        self._unwatched[why] += 1
        if self.unwatched >= UNWATCHED:
            whys = ", ".join(f"{name} {count}" for name, count in self._unwatched.most_common())
            # At the first start the topic's past is read, and a warm-up was requested: neither is worth a warning.
            level = logging.INFO if set(self._unwatched) <= {"history", "warm-up"} else logging.WARNING
            self._report(level, "unwatched", f"the last {self.unwatched} decisions were not watched for drift: {whys}")

    def _report(self, level: int, what: str, text: str, every_s: float = _REPORT_S) -> None:
        now_s = self._clock.monotonic_s()
        if what not in self._logged_at_s or now_s - self._logged_at_s[what] >= every_s:
            self._logged_at_s[what] = now_s
            log.log(level, "%s: %s", self.key, text)

    def label(self, label: Label, origin: EventOrigin) -> list[DriftEvent]:
        """Process a label; return the events that follow from it."""
        self._move(origin)
        if _longest(label.label_id, label.line, label.station, label.camera_id, label.frame_id, label.part_id,
                    label.defect) > _MAX_NAME:  # fmt: skip
            self.watch.counts["label-names-too-long"] += 1
            return []
        if self._concept is None:
            self._concept = ConceptEpisodes(label.line, label.station, label.camera_id)
        future = self.quality.future_labels
        events = self._concept.alarms(self.quality.label(label, origin.written_us), origin)
        if self.quality.future_labels > future:
            self.watch.counts["future-labels"] += 1
            self._report(logging.WARNING, "future-labels", "a label is of the future: its time is when it was written")
        if self._concept.is_open:
            events += self._concept.recovered(self.quality.streams, origin)
        return events

    def _move(self, origin: EventOrigin) -> None:
        self._offsets[origin.topic] = origin.offset + 1
        self.is_dirty = True

    def snapshot(self) -> bytes:
        """Return the state, encoded for the state topic."""
        concept = b"" if self._concept is None else json.dumps(self._concept.state()).encode()
        states = {"data": self.watch.state(), "quality": self.quality.state(), "concept": concept}
        return Snapshot(self._offsets, states, self.topic_ids).dumps()

    def restore(self, snapshot: Snapshot) -> None:
        """Resume from a snapshot. A part that cannot be read begins from scratch, with a line in the log."""
        self._offsets = dict(snapshot.offsets)
        self.is_kept = True
        try:
            self.watch = CameraWatch.restored(snapshot.states.get("data", b""), self._references_of, self._options)
        except StateError as error:
            log.warning("%s: the detectors begin from scratch: %s", self.key, error)
        try:
            if snapshot.states.get("quality"):
                self.quality.restore(snapshot.states["quality"])
        except StateError as error:
            log.warning("%s: the figures of labels begin from scratch: %s", self.key, error)
        try:
            if snapshot.states.get("concept"):
                concept = ConceptEpisodes.restored(parse(snapshot.states["concept"], _MAX_CONCEPT_BYTES))
                if concept.key != self.key:
                    raise ValueError(f"they are of {concept.key}")
                self._concept = concept
        except ValueError as error:
            log.warning("%s: episodes of concept drift begin from scratch: %s", self.key, error)

    def close(self) -> None:
        """Free the resources."""
        self.quality.close()


#: Names of the counts of decisions that were not watched.
_SKIPPED = {"duplicate", "old", "second-producer", "not-champion", "not-inspected", "names-too-long"}
#: Counts of decisions that were watched, but allow no conclusion: they count as not watched.
_HALF_WATCHED = {"after-reset", "warm-up"}


def _longest(*names: str | None) -> int:
    return max(len(name or "") for name in names)


def written_us(timestamp_s: float | None, now_us: int) -> int | None:
    """Return the time of writing of a message, by Faust's timestamp, and not later than now; None if unknown."""
    if timestamp_s is None or timestamp_s <= 0:
        return None
    return clamp_future(round(timestamp_s * 1e6), now_us)
