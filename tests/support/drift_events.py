"""Drift events of a line, and waits until a watch has published them."""

from __future__ import annotations

import time

from infra.demo.processes import ServedProcess
from schemas import DriftEvent, KafkaSettings
from schemas.codec import decode
from transport.range_reader import read_topic


def events(line: KafkaSettings) -> list[DriftEvent]:
    return [decode(message.value, DriftEvent) for message in read_topic(line, line.drift)]


def await_facts(process: ServedProcess, line: KafkaSettings, wanted: list[tuple[object, ...]]) -> None:
    """Wait until the topic says what is wanted; an event that was published twice counts once."""
    deadline = time.monotonic() + 60
    while (found := facts(list({event.event_id: event for event in events(line)}.values()))) != wanted:
        assert process.alive(), process.last_line()
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def await_watched(process: ServedProcess, count: int, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while process.metric("inspection_watch_decisions") < count:
        assert process.alive(), process.last_line()
        assert time.monotonic() < deadline, process.metric("inspection_watch_decisions")
        time.sleep(0.1)


def facts(found: list[DriftEvent]) -> list[tuple[object, ...]]:
    return sorted((e.event_id, e.episode_id, e.state, e.detected_frame_id, e.started_frame_id, e.kind) for e in found)
