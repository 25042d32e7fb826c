"""A real broker that freezes, dies and comes back; a wall clock that is set; replay records."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from actuators import DecisionConsumer, GateRunner, GateSettings, GateState, InstructionReason
from actuators.metrics import GateMetrics
from actuators.testing import RecordingActuator
from actuators.triggers import FrameTriggers
from infra.broker import LocalBroker
from infra.broker.ports import free_port
from schemas import Action, KafkaSettings
from schemas.clock import SystemClock
from schemas.codec import encode
from tests.support.gate_records import make_decision, now_us

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.broker, pytest.mark.faults]

#: What `Tail.connected` promises (3.5 s), and what a busy machine may add.
FROZEN_NOTICED_S = 3.5
SLACK_S = 2.0


class Line:
    """A gate on a broker, and a worker's hand that decides."""

    def __init__(self, kafka: KafkaSettings, settings: GateSettings, clock: SystemClock | None = None) -> None:
        self.kafka = kafka
        self.clock = clock or SystemClock()
        self.recorder = RecordingActuator()
        self.gate = GateRunner(DecisionConsumer(kafka, clock=clock), self.recorder, settings, clock=clock)
        self.producer = Producer(
            {"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 0, "enable.idempotence": True, "log_level": 0}
        )
        self.gate.start()
        self.await_decided("warm-up")

    def expect(self, part: str) -> int:
        captured = self.clock.utc_us()
        self.gate.expect(part, station="s", camera_id="cam", captured_at_us=captured)
        return captured

    def decide(self, part: str, captured_at_us: int, **changes: object) -> None:
        decision = make_decision(part, captured_at_us=captured_at_us, **changes)
        self.producer.produce(self.kafka.decisions, encode(decision))
        self.producer.poll(0)

    def reason(self, part: str) -> InstructionReason | None:
        return next((i.reason for i in self.recorder.instructions if i.part_key == part), None)

    def await_decided(self, name: str) -> None:
        """Parts come until one is decided: the first fetch of a topic, or after a pause, may take a moment."""
        for n in range(30):
            part = f"{name}{n}"
            self.decide(part, self.expect(part))
            await_(lambda part=part: self.reason(part) is not None)
            if self.reason(part) is InstructionReason.DECIDED:
                return
        raise AssertionError("nothing is decided")


def await_(condition: Callable[[], bool], seconds: float = 20) -> float:
    """Seconds until it came about."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it does not come about"
        time.sleep(0.01)
    return time.monotonic() - began


@pytest.mark.long
def test_a_broker_that_freezes_and_one_that_dies(
    unique: str, tmp_path: Path, fault_row: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    with LocalBroker(tmp_path, ends_with_us=True, port=free_port()) as broker:
        kafka = KafkaSettings(broker.bootstrap_servers, unique)
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        for created in admin.create_topics(
            [NewTopic(topic, 2, 1) for topic in (kafka.decisions, kafka.frames)]
        ).values():
            created.result(20)
        line = Line(kafka, GateSettings(belt_ms=1000, decide_by_ms=900, fault_after=0, heartbeat_ms=2000))
        gate, recorder = line.gate, line.recorder
        triggers = FrameTriggers(kafka, gate.expect_frame, max_age_s=1.0)
        metrics = GateMetrics(lambda: gate.stats, lambda: triggers.connected).registry
        assert metrics.get_sample_value("inspection_gate_triggers_connected") == 0
        pid = broker.status().pid
        assert pid is not None
        try:
            triggers.start()
            await_(lambda: triggers.connected)
            assert metrics.get_sample_value("inspection_gate_triggers_connected") == 1
            assert gate.stats.state is GateState.RUNNING
            late_before = gate.stats.tracker.late

            os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
            captured = line.expect("frozen")
            line.decide("frozen", captured)
            degraded_s = await_(lambda: gate.stats.degraded is not None)
            await_(lambda: not gate.stats.connected and not triggers.connected)
            frozen_noticed_s = time.monotonic() - began
            assert degraded_s < 2.0 + 0.5 + SLACK_S
            assert frozen_noticed_s < FROZEN_NOTICED_S + SLACK_S
            # Neither held nor early: at its belt time, without the broker.
            number = [i.part_key for i in recorder.instructions].index("frozen")
            assert recorder.instructions[number].reason is InstructionReason.FAILSAFE_MISSING
            assert 0.999 < recorder.acted_at_s[number] - began < 1.25
            os.kill(pid, signal.SIGCONT)
            thawed_s = await_(lambda: gate.stats.connected and triggers.connected and gate.stats.degraded is None)
            # What was decided meanwhile arrives, and is late: counted, and nothing moves.
            await_(lambda: gate.stats.tracker.late > late_before)
            line.await_decided("thawed")
            assert line.reason("frozen") is InstructionReason.FAILSAFE_MISSING
            assert [i.part_key for i in recorder.instructions].count("frozen") == 1

            os.kill(pid, signal.SIGKILL)
            killed_noticed_s = await_(lambda: not gate.stats.connected and not triggers.connected)
            line.expect("killed")
            await_(lambda: line.reason("killed") is not None)
            assert line.reason("killed") is InstructionReason.FAILSAFE_MISSING
            broker.kill()  # reaps it
            # Clients try to connect many times a second: that is one line for each of them, not one a try.
            caplog.clear()
            time.sleep(3)
            assert len([record for record in caplog.records if record.name == "transport.tail"]) <= 3
            broker.start()
            back_s = await_(lambda: gate.stats.connected)
            line.await_decided("back")
            assert killed_noticed_s < 0.5 + SLACK_S
        finally:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGCONT)
            triggers.stop()
            gate.stop()
    degradations = gate.stats.degradations
    assert degradations >= 2
    parts = gate.stats.tracker
    fault_row(
        "gate: broker SIGSTOP, kill -9", frames=parts.actuated, late_decisions=parts.late, recovered_s=back_s,
        noticed_s=max(frozen_noticed_s, killed_noticed_s),
    )  # fmt: skip
    log.info(
        f"frozen: degraded {degraded_s:.2f} s, not connected {frozen_noticed_s:.2f} s, back {thawed_s:.2f} s;"
        f" killed: not connected {killed_noticed_s:.2f} s, back {back_s:.2f} s after the broker answers"
    )


class SettableClock(SystemClock):
    """The machine's clocks, with a wall clock that a test may set."""

    offset_s = 0

    def utc_us(self) -> int:
        return super().utc_us() + self.offset_s * 1_000_000


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_setting_the_wall_clock_by_an_hour_changes_nothing(line: KafkaSettings, jump_s: int) -> None:
    clock = SettableClock()
    running = Line(line, GateSettings(belt_ms=1500, decide_by_ms=1000, fault_after=0), clock)
    began = time.monotonic()
    before = running.expect("before")
    on_the_belt = clock.utc_us()
    clock.offset_s = jump_s
    running.decide("before", before)
    # Captured before the jump, its trigger comes after it.
    running.gate.expect("across", station="s", camera_id="cam", captured_at_us=on_the_belt)
    running.decide("across", on_the_belt)
    after = running.expect("after")
    running.decide("after", after)
    running.expect("missing")
    running.gate.stop()
    parts = running.recorder.instructions[-4:]
    assert {i.part_key: i.reason for i in parts} == {
        "before": InstructionReason.DECIDED,
        "across": InstructionReason.DECIDED,
        "after": InstructionReason.DECIDED,
        "missing": InstructionReason.FAILSAFE_MISSING,
    }
    assert all(1.499 < at_s - began < 1.75 for at_s in running.recorder.acted_at_s[-4:])


def test_a_replay_moves_no_gate(line: KafkaSettings) -> None:
    """Its records go to topics of their own, and if they strayed here they are refused."""
    running = Line(line, GateSettings(belt_ms=1500, fault_after=0))
    parts = [f"p{n}" for n in range(5)]
    captured = {part: running.expect(part) for part in parts}
    for part in parts:
        running.decide(part, captured[part], is_simulated=True)
        running.decide(part, captured[part], is_simulated=True, action=Action.REJECT)
        # Stray records of parts that are long past.
        running.decide(f"past-{part}", now_us(), is_simulated=True)
    await_(lambda: running.gate.stats.tracker.refused_simulated == 15)
    running.gate.stop()
    assert {running.reason(part) for part in parts} == {InstructionReason.FAILSAFE_MISSING}
    assert not [i for i in running.recorder.instructions if i.part_key.startswith("past")]
