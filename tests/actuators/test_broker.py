"""The consumer and the gate against a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from actuators import (
    DecisionConsumer,
    FrameTriggers,
    GateRunner,
    GateSettings,
    InstructionReason,
    SimulatedGate,
    Undecodable,
)
from actuators.testing import RecordingActuator
from infra.broker import LocalBroker
from infra.broker.ports import free_port
from schemas import Action, Decision, Frame, KafkaSettings
from schemas.codec import encode
from schemas.errors import BrokerUnavailable, TopicMissing
from tests.support.gate_records import make_decision, make_frame, now_us

pytestmark = pytest.mark.broker
Publish = Callable[..., None]


@pytest.fixture
def publish(line: KafkaSettings) -> Iterator[Publish]:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "enable.idempotence": True})

    def send(*records: Decision | Frame | bytes | None) -> None:
        for record in records:
            topic = line.frames if isinstance(record, Frame) else line.decisions
            value = record if record is None or isinstance(record, bytes) else encode(record)
            producer.produce(topic, value, key=getattr(record, "key", "s/cam"))
        assert producer.flush(10) == 0

    yield send
    producer.flush(10)


def fresh(part: str, action: Action = Action.ACCEPT, **changes: object) -> Decision:
    return make_decision(part, action, **{"captured_at_us": now_us(), **changes})


def read(consumer: DecisionConsumer, seconds: float = 1.5) -> list[str]:
    """Parts of the decisions that come; a second of silence ends it."""
    parts, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        decision = consumer.poll(0.05)
        if decision is not None:
            parts.append(decision.part_key)
            until = time.monotonic() + seconds
    return parts


def test_history_is_never_delivered(line: KafkaSettings, publish: Publish) -> None:
    publish(fresh("before"))
    with DecisionConsumer(line, station="s") as consumer:
        assert consumer.ready
        assert consumer.connected
        publish(fresh("old", captured_at_us=now_us() - 60_000_000), fresh("after"), fresh("x", station="other"))
        assert read(consumer) == ["after"]
        counts = consumer.counts
        assert (counts.delivered, counts.skipped_old, counts.other_station) == (1, 1, 1)
        assert consumer.last_message_age_s is not None
        assert consumer.last_message_age_s < 5
    assert not consumer.ready


@pytest.mark.faults
def test_duplicates_are_dropped_contradictions_and_simulations_are_not(
    line: KafkaSettings, publish: Publish, fault_row: Callable[..., None]
) -> None:
    with DecisionConsumer(line) as consumer:
        decision = fresh("p")
        publish(fresh("p", is_simulated=True), decision, decision, fresh("p", Action.REJECT), decision)
        assert read(consumer) == ["p", "p", "p"]
        assert consumer.counts.duplicates == 2
    fault_row("gate: duplicated, contradicting, simulated decisions", frames=1, duplicates=2, conflicts=1)


@pytest.mark.faults
def test_poison_is_reported_and_stops_nothing(line: KafkaSettings, publish: Publish) -> None:
    reported: list[Undecodable] = []
    with DecisionConsumer(line, on_undecodable=reported.append) as consumer:
        publish(b"not avro", None, encode(fresh("cut"))[:-3], encode(fresh("tail")) + b"x", make_frame_bytes())
        publish(fresh("good"))
        assert read(consumer) == ["good"]
    assert [u.kind for u in reported] == [
        "unknown-schema",
        "empty-message",
        "truncated",
        "trailing-bytes",
        "unknown-schema",
    ]
    assert reported[0].topic == line.decisions
    assert consumer.counts.undecodable == 5


def make_frame_bytes() -> bytes:
    return encode(make_frame())


@pytest.mark.faults
def test_a_restart_neither_repeats_nor_skips(
    line: KafkaSettings, publish: Publish, tmp_path: Path, fault_row: Callable[..., None]
) -> None:
    publish(fresh("history"))

    with DecisionConsumer(line, state_dir=tmp_path):
        pass  # read nothing at all
    publish(*(fresh(f"a{n}") for n in range(5)))
    with DecisionConsumer(line, state_dir=tmp_path) as consumer:
        first = [consumer.poll(5), consumer.poll(5)]  # the others are fetched, but not handed over
    publish(*(fresh(f"b{n}", camera_id=f"cam{n}") for n in range(5)), fresh("old", captured_at_us=1))
    with DecisionConsumer(line, state_dir=tmp_path) as consumer:
        rest = read(consumer)
        assert consumer.counts.skipped_old == 1
    assert [d.part_key for d in first if d] == ["a0", "a1"]
    # Order holds within a partition only.
    assert sorted(rest) == ["a2", "a3", "a4", "b0", "b1", "b2", "b3", "b4"]
    with DecisionConsumer(line, state_dir=tmp_path) as consumer:
        assert read(consumer) == []
    fault_row("gate: restart between decisions", frames=len(first) + len(rest), duplicates=0)


def test_iteration_ends_with_stop(line: KafkaSettings, publish: Publish) -> None:
    with DecisionConsumer(line) as consumer:
        publish(fresh("a"), fresh("b"))
        seen = []
        for decision in consumer:
            seen.append(decision.part_key)
            if len(seen) == 2:
                consumer.stop()
        assert seen == ["a", "b"]


def test_topics_must_be_there(line: KafkaSettings) -> None:
    with pytest.raises(TopicMissing, match="topics apply"):
        DecisionConsumer(KafkaSettings(line.bootstrap_servers, "no-such-line")).open()


def test_no_broker_is_one_clear_error() -> None:
    with pytest.raises(BrokerUnavailable):
        DecisionConsumer(KafkaSettings("127.0.0.1:1")).open()


def test_the_gate(line: KafkaSettings, publish: Publish, tmp_path: Path) -> None:
    """Decided, missing, late, twice, in conflict, unreadable: each part once, at its time."""
    recorder = RecordingActuator()
    gate = GateRunner(DecisionConsumer(line), recorder, GateSettings(belt_ms=3000, decide_by_ms=2000))
    gate.start()
    # The first message of a topic made just now takes a while to find its leader.
    publish(make_decision("warm-up", captured_at_us=now_us()))
    await_(lambda: gate.stats.consumer.delivered == 1)
    captured, began = now_us(), time.monotonic()
    for part in ("decided", "missing", "late", "twice", "conflict", "poison", "simulated"):
        gate.expect(part, station="s", camera_id="cam", captured_at_us=captured)
    at = {"captured_at_us": captured}
    publish(
        make_decision("decided", **at),
        make_decision("twice", **at),
        make_decision("twice", **at),
        make_decision("conflict", **at),
        make_decision("conflict", Action.REJECT, model="m2", **at),
        b"poison",
        make_decision("simulated", is_simulated=True, **at),
    )
    time.sleep(max(0.0, began + 2.5 - time.monotonic()))
    publish(make_decision("late", **at))
    gate.stop()
    assert {i.part_key: (i.action.value, i.reason.value) for i in recorder.instructions} == {
        "decided": ("ACCEPT", "decided"),
        "missing": ("REJECT", "failsafe-missing"),
        "late": ("REJECT", "failsafe-late"),
        "twice": ("ACCEPT", "decided"),
        "conflict": ("REJECT", "conflict"),
        "poison": ("REJECT", "failsafe-missing"),
        "simulated": ("REJECT", "failsafe-missing"),
    }
    assert len(recorder.instructions) == 7
    lateness_ms = [(at_s - began - 3.0) * 1e3 for at_s in recorder.acted_at_s]
    assert min(lateness_ms) > -1
    assert max(lateness_ms) < 250  # the machine may be busy; how late it is by itself is measured elsewhere
    stats = gate.stats
    assert (stats.tracker.late, stats.tracker.conflicts, stats.consumer.duplicates) == (1, 1, 1)
    assert stats.consumer.undecodable == 1


@pytest.mark.long
def test_a_broker_that_goes_and_comes_back(unique: str, tmp_path: Path) -> None:
    """The gate fails safe meanwhile, raises nothing, and goes on by itself."""
    with LocalBroker(tmp_path, port=free_port()) as broker:
        kafka = KafkaSettings(broker.bootstrap_servers, unique)
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        for created in admin.create_topics([NewTopic(kafka.decisions, 2, 1)]).values():
            created.result(20)
        recorder = RecordingActuator()
        gate = GateRunner(DecisionConsumer(kafka), recorder, GateSettings(belt_ms=1000))
        gate.start()
        assert gate.stats.connected
        broker.stop()
        await_(lambda: not gate.stats.connected)
        gate.expect("meanwhile", station="s", camera_id="cam", captured_at_us=now_us())
        await_(lambda: len(recorder.instructions) == 1)
        broker.start()
        await_(lambda: gate.stats.connected)
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "enable.idempotence": True})
        # The first fetch after the pause may take a moment: parts come until one is decided.
        for n in range(30):
            captured = now_us()
            gate.expect(f"p{n}", station="s", camera_id="cam", captured_at_us=captured)
            producer.produce(kafka.decisions, encode(make_decision(f"p{n}", captured_at_us=captured)))
            producer.flush(5)
            await_(lambda n=n: len(recorder.instructions) == n + 2)
            if recorder.instructions[-1].reason is InstructionReason.DECIDED:
                break
        gate.stop()
    assert recorder.instructions[0].reason is InstructionReason.FAILSAFE_MISSING
    assert recorder.instructions[-1].reason is InstructionReason.DECIDED


def await_(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.01)


def test_frames_stand_for_the_light_barrier(line: KafkaSettings, publish: Publish) -> None:
    publish(make_frame("history", captured_at_us=now_us()))
    gate = GateRunner(DecisionConsumer(line), SimulatedGate(), GateSettings(belt_ms=2000))
    acted: list[tuple[str, InstructionReason]] = []
    gate._on_action = lambda instruction, _: acted.append((instruction.part_key, instruction.reason))
    triggers = FrameTriggers(line, gate.expect_frame, max_age_s=2.0, station="s")
    # Two seconds of belt: the first messages of a topic made just now take a while to find its leader.
    gate.start()
    triggers.start()
    captured = now_us()
    publish(
        make_decision("p1", captured_at_us=captured),  # before its own trigger
        make_frame("p1", captured_at_us=captured),
        make_frame("p2", captured_at_us=captured),
        make_frame("p2", captured_at_us=captured),
        make_frame("old", captured_at_us=captured - 5_000_000),
        make_frame("elsewhere", station="t", captured_at_us=captured),
        make_frame("p3", captured_at_us=captured, attributes={f"k{n}": "x" * 10_000 for n in range(9)}),
    )
    deadline = time.monotonic() + 10
    while len(acted) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    triggers.stop()
    gate.stop()
    failsafe = (
        InstructionReason.FAILSAFE_MISSING
    )  # also for the part of a frame that a worker rejects for its attributes
    assert sorted(acted) == [("p1", InstructionReason.DECIDED), ("p2", failsafe), ("p3", failsafe)], (
        triggers.counts,
        gate.stats,
    )
    counts = triggers.counts
    assert (counts.expected, counts.skipped_old, counts.other_station) == (4, 1, 1)
