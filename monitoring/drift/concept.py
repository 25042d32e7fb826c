"""Episodes of concept drift: the correctness of the decisions has changed, even if the images have not.

A stream of errors (see `monitoring.quality.error_monitor`) that rises opens an episode; a further rise updates it. An
episode is closed as ``recovered`` if 100 labels or more came since its last rise and their share of errors is back
within a quarter of the way from before to after. It is closed with a reset if another model or recipe revision decides.
"""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass, replace
from typing import Any

from monitoring.checked import MAX_LONG, fields, items, mapping, number, text, whole
from monitoring.quality.error_monitor import ConceptAlarm, StreamSummary
from monitoring.quality.outcome import ModelKey
from schemas.ids import drift_event_id
from schemas.records import Decision, DriftEvent, DriftKind, DriftType, EpisodeState, SignalChange

_RECOVERED_LABELS = 100
#: Bounds of a state: open streams, labels since a change, and example frames.
_MAX_OPEN, _MAX_LABELS, _MAX_EXAMPLES = 100, 2**31 - 1, 100


@dataclass(frozen=True, slots=True)
class EventOrigin:
    """Origin of an event: topic, partition, offset, the clock, and the time of writing of the message (UTC µs)."""

    topic: str
    partition: int
    offset: int
    now_us: int
    written_us: int | None = None


@dataclass(frozen=True, slots=True)
class _Open:
    alarm: ConceptAlarm
    episode_id: str
    events: int


class ConceptEpisodes:
    """Open episodes of concept drift of one camera, one for each stream of errors.

    Parameters
    ----------
    line, station, camera_id
        Identity of the camera.
    """

    def __init__(self, line: str, station: str, camera_id: str) -> None:
        self._identity = (line, station, camera_id)
        self._open: dict[str, _Open] = {}

    @property
    def key(self) -> str:
        """``station/camera``."""
        return f"{self._identity[1]}/{self._identity[2]}"

    @property
    def is_open(self) -> bool:
        """True if an episode is open."""
        return bool(self._open)

    def alarms(self, alarms: list[ConceptAlarm], origin: EventOrigin) -> list[DriftEvent]:
        """Open or update episodes; return the events."""
        events = []
        for alarm in alarms:
            stream = f"{alarm.side}/{alarm.sampled_because}"
            known = self._open.get(stream)
            if known is None:
                name = drift_event_id(f"{self._identity[1]}/{self._identity[2]}", f"{stream}/{alarm.detected_frame_id}")
                self._open[stream] = _Open(alarm, name, 0)
                events.append(self._event(stream, EpisodeState.OPENED, origin))
            else:
                # The beginning of the episode stays, and its extent is the current one.
                merged = replace(
                    alarm, before=known.alarm.before, started_frame_id=known.alarm.started_frame_id,
                    started_at_us=known.alarm.started_at_us, frames_before=known.alarm.frames_before,
                )  # fmt: skip
                self._open[stream] = replace(known, alarm=merged)
                events.append(self._event(stream, EpisodeState.UPDATED, origin))
        return events

    def recovered(self, streams: list[StreamSummary], origin: EventOrigin) -> list[DriftEvent]:
        """Close the episodes whose errors are as rare again as before; return the events."""
        events = []
        for stream in streams:
            name = f"{stream.side}/{stream.sampled_because}"
            known = self._open.get(name)
            if known is None or known.alarm.model != stream.model or stream.error_rate is None:
                continue
            limit = known.alarm.before + (known.alarm.after - known.alarm.before) / 4
            since = stream.labels - known.alarm.labels_after
            if since >= _RECOVERED_LABELS and stream.error_rate <= limit:
                events.append(self._event(name, EpisodeState.CLOSED, origin, "recovered"))
                del self._open[name]
        return events

    def decider(self, decision: Decision, origin: EventOrigin) -> list[DriftEvent]:
        """Close the episodes of a model or recipe that no longer decides; return the events."""
        events = []
        for name, known in list(self._open.items()):
            model = known.alarm.model
            if (decision.model_sha256, decision.recipe_revision) != (model.sha256, model.recipe_revision):
                now = f"{decision.model_name} {decision.model_version}, recipe revision {decision.recipe_revision}"
                events.append(self._event(name, EpisodeState.CLOSED, origin, f"reset: {now} decides"))
                del self._open[name]
        return events

    def _event(self, stream: str, state: EpisodeState, origin: EventOrigin, closed_because: str = "") -> DriftEvent:
        known = self._open[stream] = replace(self._open[stream], events=self._open[stream].events + 1)
        alarm, (line, station, camera_id) = known.alarm, self._identity
        sd = max(alarm.before * (1 - alarm.before), 0.0099) ** 0.5
        change = SignalChange(
            alarm.signal, alarm.detector, alarm.before, alarm.after, (alarm.after - alarm.before) / sd
        )
        return DriftEvent(
            event_id=drift_event_id(known.episode_id, known.events),
            episode_id=known.episode_id,
            state=state,
            drift_type=DriftType.CONCEPT,
            kind=DriftKind.UNDETERMINED,  # there are too few labels to distinguish a step from a slope
            line=line,
            station=station,
            camera_id=camera_id,
            reason=alarm.reason,
            signals=(change,),
            started_frame_id=alarm.started_frame_id,
            started_at_us=alarm.started_at_us,
            detected_frame_id=alarm.detected_frame_id,
            detected_at_us=alarm.detected_at_us,
            frames=alarm.labels_after,
            frames_before=alarm.frames_before,
            frames_after=alarm.frames_after,
            closed_at_us=origin.now_us if closed_because else None,
            closed_because=closed_because,
            model_name=alarm.model.name,
            model_version=alarm.model.version,
            model_sha256=alarm.model.sha256,
            recipe_id=alarm.model.recipe_id,
            recipe_revision=alarm.model.recipe_revision,
            emitted_at_us=origin.now_us,
            source_topic=origin.topic,
            source_partition=origin.partition,
            source_offset=origin.offset,
        )

    def state(self) -> Any:
        """Return the whole state as JSON."""
        return {"identity": self._identity, "open": {name: asdict(known) for name, known in self._open.items()}}

    @classmethod
    def restored(cls, state: Any) -> ConceptEpisodes:
        """Resume from a `state`; raise ValueError for anything else."""
        state = fields(state, ("identity", "open"))
        line, station, camera_id = (text(part) for part in items(state["identity"], 3, 3))
        episodes = cls(line, station, camera_id)
        for name, given in mapping(state["open"], _MAX_OPEN).items():
            given = fields(given, ("alarm", "episode_id", "events"))
            alarm = _alarm(given["alarm"])
            if name != f"{alarm.side}/{alarm.sampled_because}":
                raise ValueError("an episode under the name of another stream")
            episodes._open[name] = _Open(alarm, text(given["episode_id"]), whole(given["events"]))
        return episodes


def _alarm(given: Any) -> ConceptAlarm:
    given = fields(given, [field.name for field in dataclasses.fields(ConceptAlarm)])
    model = fields(given["model"], [field.name for field in dataclasses.fields(ModelKey)])
    if given["side"] not in ("escapes", "overkill"):
        raise ValueError("an alarm of no side")
    return ConceptAlarm(
        camera=text(given["camera"]),
        side=given["side"],
        sampled_because=text(given["sampled_because"]),
        detector=text(given["detector"]),
        before=number(given["before"], 0.0, 1.0),
        after=number(given["after"], 0.0, 1.0),
        labels_before=whole(given["labels_before"]),
        labels_after=whole(given["labels_after"], 0, _MAX_LABELS),
        log_likelihood_ratio=number(given["log_likelihood_ratio"]),
        started_frame_id=text(given["started_frame_id"]),
        started_at_us=whole(given["started_at_us"], -MAX_LONG - 1),
        detected_frame_id=text(given["detected_frame_id"]),
        detected_at_us=whole(given["detected_at_us"], -MAX_LONG - 1),
        frames_before=tuple(text(frame_id) for frame_id in items(given["frames_before"], _MAX_EXAMPLES)),
        frames_after=tuple(text(frame_id) for frame_id in items(given["frames_after"], _MAX_EXAMPLES)),
        model=ModelKey(*(text(model[field.name]) for field in dataclasses.fields(ModelKey))),
    )
