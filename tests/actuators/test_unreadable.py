"""FAULT of a gate that can read nothing: it sees no part and no decision."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from actuators import DecisionConsumer, FrameTriggers, GateRunner, GateSettings, GateState
from actuators.errors import GateFull
from actuators.testing import RecordingActuator
from schemas import KafkaSettings
from schemas.clock import ManualClock
from schemas.codec import encode
from tests.support.gate_records import make_decision, make_frame
from tests.support.gates import SteppedGate


def make_gate(after: int = 10) -> SteppedGate:
    return SteppedGate(ManualClock(utc_us=10**15), GateSettings(belt_ms=100, fault_after=after))


def read(gate: SteppedGate, **more: int) -> None:
    """Let the consumer have read this number of further messages."""
    counts = gate.source.counts
    changed = {name: getattr(counts, name) + number for name, number in more.items()}
    gate.source.counts = dataclasses.replace(counts, **changed)
    gate.turn()


def test_only_unreadable_decisions_are_a_fault() -> None:
    gate = make_gate()
    read(gate, undecodable=40)
    assert gate.runner.stats.state is GateState.RUNNING, "a burst between two decisions is no fault"
    gate.advance(2.1)
    assert "40 decisions in a row cannot be read" in str(gate.runner.stats.fault)
    assert gate.driver.line_calls == ["stop_line"]
    assert gate.runner.reset("eva", "codec set right")
    gate.advance(5)
    assert gate.runner.stats.fault is None


@pytest.mark.parametrize("readable", ["delivered", "duplicates", "skipped_old", "other_station"])
def test_one_that_can_be_read_ends_the_row(readable: str) -> None:
    gate = make_gate()
    read(gate, undecodable=9)
    read(gate, **{readable: 1})
    read(gate, undecodable=9)
    gate.advance(5)
    assert gate.runner.stats.fault is None
    read(gate, undecodable=1)
    gate.advance(5)
    assert gate.runner.stats.fault is not None


def test_only_unreadable_triggers_are_a_fault() -> None:
    gate = make_gate(3)
    for is_readable in (False, False, True, False, False):
        gate.runner.note_trigger(is_readable)
    gate.advance(3)
    assert gate.runner.stats.fault is None
    gate.runner.note_trigger(False)
    gate.turn()
    assert "3 triggers in a row cannot be read" in str(gate.runner.stats.fault)


def test_never_where_nothing_is() -> None:
    gate = make_gate(0)
    read(gate, undecodable=1_000)
    gate.advance(60)
    assert gate.runner.stats.fault is None


@pytest.mark.broker
@pytest.mark.parametrize("what", ["decisions", "frames"])
def test_a_topic_of_messages_that_nobody_can_read(line: KafkaSettings, what: str) -> None:
    recorder = RecordingActuator()
    gate = GateRunner(DecisionConsumer(line), recorder, GateSettings(belt_ms=500, fault_after=5))
    triggers = FrameTriggers(line, gate.expect_frame, max_age_s=5, on_read=gate.note_trigger)
    gate.start()
    triggers.start()
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True})
    for number in range(12):
        producer.produce(getattr(line, what), b"\x00\x00\x00\x00\x07 of another registry %d" % number)
    assert producer.flush(20) == 0
    try:
        await_(lambda: gate.stats.state is GateState.FAULT)
        assert "cannot be read" in str(gate.stats.fault)
    finally:
        triggers.stop()
        gate.stop()


def await_(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


def test_frames_that_are_all_too_old_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Their parts pass unseen: the camera's clock may be behind."""
    clock = ManualClock(utc_us=10**15)
    triggers = FrameTriggers(KafkaSettings("127.0.0.1:9"), lambda frame: None, max_age_s=2.0, clock=clock)
    behind, right = (make_frame("p", captured_at_us=10**15 - us) for us in (3_600_000_000, 0))
    for frame in [behind] * 9 + [right] + [behind] * 9:
        triggers._trigger(encode(frame))
    assert caplog.messages == []
    triggers._trigger(encode(behind))
    assert caplog.messages[0].startswith("the last 10 frames, now of camera s/cam, were captured longer ago than")
    assert "camera's clock may be behind, or this machine's ahead" in caplog.messages[0]


def test_decisions_of_other_cameras_do_not_hide_a_silent_worker() -> None:
    gate = SteppedGate(ManualClock(utc_us=10**15), GateSettings(belt_ms=800, fault_after=0))
    for number in range(5):
        gate.expect(f"p{number}", gate.clock.utc_us())
        gate.offer(make_decision(f"x{number}", camera_id="elsewhere", captured_at_us=gate.clock.utc_us()))
        gate.advance(0.5)
    assert "no decision" in str(gate.runner.stats.degraded)
    gate.offer(make_decision("x", captured_at_us=gate.clock.utc_us()))
    gate.turn()
    assert gate.runner.stats.degraded is None


def test_a_flood_of_frames_that_trigger_nothing_is_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    def is_full(frame: object) -> None:
        raise GateFull("no room")

    triggers = FrameTriggers(KafkaSettings(), is_full, max_age_s=None)
    for _ in range(50):
        assert triggers._trigger(b"no frame") == "undecodable"
        assert triggers._trigger(encode(make_frame(captured_at_us=1))) == "refused"
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
