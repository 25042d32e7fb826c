"""Gates and the drift topic on a real broker: a watch of drift never harms a gate."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from actuators import (
    DecisionConsumer,
    DriftStats,
    DriftWatch,
    GateRunner,
    GateSettings,
    InstructionReason,
    OnDrift,
)
from actuators.metrics import GateMetrics
from actuators.open_episodes import OpenEpisodes
from actuators.testing import ListDecisions, RecordingActuator
from infra.broker import LocalBroker
from schemas import Action, DriftEvent, KafkaSettings
from schemas.codec import encode
from schemas.topics import DRIFT
from tests.support.drifting_gates import (
    ACCEPT,
    ACKNOWLEDGED,
    CLOSED,
    REJECT,
    REVIEW,
    event,
)
from tests.support.gate_records import make_decision, make_frame, now_us


class Topic:
    """The drift topic of a line, and a hand that writes to it."""

    def __init__(self, line: KafkaSettings) -> None:
        self.line = line
        self._producer = Producer(
            {"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "enable.idempotence": True, "log_level": 0}
        )

    def say(self, *values: DriftEvent | bytes | None) -> None:
        for value in values:
            data = encode(value) if isinstance(value, DriftEvent) else value
            self._producer.produce(self.line.drift, data, key=getattr(value, "key", None))
        assert self._producer.flush(20) == 0


@pytest.fixture
def topic(line: KafkaSettings) -> Topic:
    return Topic(line)


def await_(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.01)


def open_ids(watch: DriftWatch) -> list[str]:
    return sorted(episode.episode_id for episodes in watch.episodes.values() for episode in episodes)


@pytest.mark.broker
def test_the_watch_knows_the_past_and_follows(topic: Topic) -> None:
    topic.say(event("past"), b"garbage", event("over"), None, event("seen"), event("sim", is_simulated=True))
    topic.say(event("over", CLOSED), event("seen", ACKNOWLEDGED), encode(event("cut"))[:-2], encode(make_frame()))
    watch = DriftWatch(topic.line)
    watch.open()
    try:
        # Known when `open` returns; and never was an episode of the past open that is over by now.
        assert open_ids(watch) == ["past"]
        assert watch.stats == DriftStats(connected=True, open_episodes=1, events=5, simulated=1, undecodable=4)
        topic.say(event("new", camera="side"), b"garbage")
        await_(lambda: open_ids(watch) == ["new", "past"])
        topic.say(event("past", CLOSED, camera="side"), event("new", ACKNOWLEDGED))  # they fit no episode
        topic.say(event("past", CLOSED), event("new", ACKNOWLEDGED, camera="side"))
        await_(lambda: open_ids(watch) == [])
        assert (watch.stats.undecodable, watch.stats.refused) == (5, 1)
    finally:
        watch.close()
    assert not watch.stats.connected


@pytest.mark.broker
def test_an_episode_counts_though_the_clock_of_the_gate_is_behind(topic: Topic) -> None:
    """Check that a machine that starts with the time of last week knows the drift of today."""
    week_us = 7 * 86_400_000_000
    topic.say(event("past", started_at_us=now_us() + week_us))
    watch = DriftWatch(topic.line)
    watch.open()
    try:
        assert open_ids(watch) == ["past"]
        topic.say(event("new", camera="side", started_at_us=now_us() + week_us))
        await_(lambda: open_ids(watch) == ["new", "past"])
        assert watch.stats.refused == 0
    finally:
        watch.close()


@pytest.mark.broker
def test_an_empty_topic_is_known_at_once(topic: Topic) -> None:
    watch = DriftWatch(topic.line)
    began = time.monotonic()
    watch.open()
    assert watch.stats == DriftStats(connected=True)
    assert time.monotonic() - began < 8
    watch.close()


@pytest.mark.broker
def test_review_from_the_topic_to_the_part_and_over_a_restart(topic: Topic) -> None:
    line = topic.line
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "enable.idempotence": True})

    def make() -> tuple[GateRunner, RecordingActuator]:
        recorder = RecordingActuator()
        gate = GateRunner(
            DecisionConsumer(line), recorder, GateSettings(belt_ms=400, on_drift=OnDrift.REVIEW), drift=DriftWatch(line)
        )
        gate.start()
        return gate, recorder

    def pass_real(gate: GateRunner, recorder: RecordingActuator, action: Action) -> tuple[Action, InstructionReason]:
        """Parts come until a decision is in time: the first fetch of a topic may take a moment."""
        for _ in range(30):
            captured = now_us()
            part = f"p{captured}"
            gate.expect(part, station="s", camera_id="cam", captured_at_us=captured)
            producer.produce(line.decisions, encode(make_decision(part, action, captured_at_us=captured)))
            producer.flush(10)
            await_(lambda part=part: bool(recorder.instructions) and recorder.instructions[-1].part_key == part)
            if not recorder.instructions[-1].is_failsafe:
                break
        return recorder.instructions[-1].action, recorder.instructions[-1].reason

    topic.say(event("past"), b"garbage")
    gate, recorder = make()
    assert pass_real(gate, recorder, ACCEPT) == (REVIEW, InstructionReason.DRIFT_REVIEW)
    assert pass_real(gate, recorder, REJECT) == (REJECT, InstructionReason.DECIDED)
    gate.stop()
    gate, recorder = make()
    assert pass_real(gate, recorder, ACCEPT) == (REVIEW, InstructionReason.DRIFT_REVIEW)
    topic.say(event("past", ACKNOWLEDGED))
    await_(lambda: gate.stats.drift is not None and gate.stats.drift.open_episodes == 0)
    assert pass_real(gate, recorder, ACCEPT) == (ACCEPT, InstructionReason.DECIDED)
    metrics = GateMetrics(lambda: gate.stats).registry
    assert metrics.get_sample_value("inspection_gate_drift_connected") == 1
    assert metrics.get_sample_value("inspection_gate_unused_drift_events_total", {"why": "unreadable"}) == 1
    gate.stop()


@pytest.mark.broker
@pytest.mark.faults
def test_a_topic_that_is_missing_harms_nothing_and_is_found_later(
    broker: LocalBroker, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    line = KafkaSettings(broker.bootstrap_servers, unique)
    recorder = RecordingActuator()
    watch = DriftWatch(line, retry_s=0.2)
    gate = GateRunner(ListDecisions(), recorder, GateSettings(belt_ms=50, on_drift=OnDrift.STOP), drift=watch)
    with caplog.at_level(logging.INFO, logger="actuators.drift_watch"):
        gate.start()
        await_(lambda: "drift is not watched, the gate goes on without: missing topics" in caplog.text)
        time.sleep(1.0)  # further tries
        gate.expect_frame(make_frame("p1", captured_at_us=now_us()))
        await_(lambda: len(recorder.instructions) == 1)
        assert gate.stats.drift == DriftStats(connected=False)
        assert len([row for row in caplog.records if row.name == "actuators.drift_watch"]) == 1
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        for created in admin.create_topics([NewTopic(line.drift, DRIFT.partitions, 1)]).values():
            created.result(20)
        Topic(line).say(event())
        await_(lambda: gate.stats.fault is not None)
    assert "episode e" in str(gate.stats.fault)
    gate.stop()


@pytest.mark.faults
def test_without_a_broker_the_gate_starts_and_acts(caplog: pytest.LogCaptureFixture) -> None:
    recorder, source = RecordingActuator(), ListDecisions()
    watch = DriftWatch(KafkaSettings("127.0.0.1:1"), patience_s=0.3)
    gate = GateRunner(source, recorder, GateSettings(belt_ms=50, on_drift=OnDrift.REVIEW), drift=watch)
    began = time.monotonic()
    gate.start()
    assert time.monotonic() - began < 10
    captured = now_us()
    gate.expect_frame(make_frame("p1", captured_at_us=captured))
    source.waiting.append(make_decision("p1", captured_at_us=captured))
    await_(lambda: len(recorder.instructions) == 1)
    assert gate.stats.drift == DriftStats(connected=False)
    gate.stop()
    assert recorder.instructions[0].reason is InstructionReason.DECIDED
    assert "its past is not read after 0.3 s" in caplog.text


@pytest.mark.broker
@pytest.mark.faults
def test_a_watch_that_dies_harms_nothing(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic.say(event())
    recorder, source = RecordingActuator(), ListDecisions()
    watch = DriftWatch(topic.line)
    gate = GateRunner(source, recorder, GateSettings(belt_ms=200, on_drift=OnDrift.REVIEW), drift=watch)
    gate.start()
    assert gate.stats.drift == DriftStats(connected=True, open_episodes=1, events=1)
    monkeypatch.setattr(OpenEpisodes, "take", lambda self, event: 1 / 0)
    topic.say(event("f", camera="other"))
    await_(lambda: not watch._thread.is_alive())
    assert gate.stats.drift == DriftStats(connected=False, open_episodes=1, events=1)
    captured = now_us()
    for camera in ("cam", "other"):
        gate.expect(f"p-{camera}", station="s", camera_id=camera, captured_at_us=captured)
        source.waiting.append(make_decision(f"p-{camera}", camera_id=camera, captured_at_us=captured))
    gate.stop()
    # What was known goes on to count, as nobody says that it is over.
    assert {i.camera_id: i.reason for i in recorder.instructions} == {
        "cam": InstructionReason.DRIFT_REVIEW,
        "other": InstructionReason.DECIDED,
    }
    assert "the drift watch stops; the gate goes on" in caplog.text
