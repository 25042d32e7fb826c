"""Drift part of a demo run: the events that `inspection watch` published about the disturbed camera."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from infra.demo.result import DriftDemo
from producers.cameras.disturbed import Disturbance
from schemas import CodecError, DriftEvent, EpisodeState, KafkaSettings
from schemas.codec import Codec
from transport.range_reader import read_topic

#: Time that the watch may take to process the last decisions, in seconds.
PATIENCE_S = 15.0


def drift_events(kafka: KafkaSettings, seen_all: Callable[[], bool]) -> list[DriftEvent]:
    """Wait until the watch has seen all decisions; return the events of the run, in order and each one once."""
    deadline = time.monotonic() + PATIENCE_S
    while not seen_all() and time.monotonic() < deadline:
        time.sleep(0.1)
    codec = Codec.from_settings(kafka)
    found: dict[str, DriftEvent] = {}
    for message in read_topic(kafka, kafka.drift):
        try:
            event = codec.decode(message.value, DriftEvent)
        except CodecError:
            continue
        found.setdefault(event.event_id, event)
    return list(found.values())


def judge(
    what: Disturbance, camera_id: str, changed: tuple[int, str] | None, events: list[DriftEvent]
) -> tuple[DriftDemo, tuple[dict[str, Any], ...]]:
    """Compare the alarms with the disturbance.

    ``changed`` is the sequence number and the id of the first disturbed frame. Return the comparison, and the events as
    rows for JSON.
    """
    opened = [event for event in events if event.state is EpisodeState.OPENED]
    ours = [event for event in opened if event.camera_id == camera_id]
    # A frame id ends with the sequence number, which counts the captures of the camera.
    after = [event for event in ours if changed is not None and _sequence(event.detected_frame_id) >= changed[0]]
    alarm = after[0] if after else None
    newest = next((e for e in reversed(events) if alarm is not None and e.episode_id == alarm.episode_id), alarm)
    demo = DriftDemo(
        scenario=what.value,
        camera_id=camera_id,
        changed_frame_id=None if changed is None else changed[1],
        alarm_frame_id=None if alarm is None else alarm.detected_frame_id,
        delay_frames=None if alarm is None or changed is None else _sequence(alarm.detected_frame_id) - changed[0] + 1,
        kind=None if newest is None else newest.kind.value,
        cause="" if newest is None else newest.cause,
        reason="" if alarm is None else alarm.reason,
        early_alarms=len(ours) - len(after),
        other_alarms=len(opened) - len(ours),
    )
    frames = {"changed_frame_id": demo.changed_frame_id, "alarm_frame_id": demo.alarm_frame_id}
    return demo, tuple({**_plain(event), **(frames if event.camera_id == camera_id else {})} for event in events)


def _plain(event: DriftEvent) -> dict[str, Any]:
    return {**asdict(event), **{n: str(getattr(event, n)) for n in ("state", "kind", "drift_type")}}


def _sequence(frame_id: str) -> int:
    return int(frame_id.rpartition(".")[2])
