"""Rights that a gate loses while it runs: it is blind, and says so."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from actuators import DecisionConsumer, GateRunner, GateSettings
from actuators.testing import RecordingActuator
from tests.support.secured import STRANGER, SecuredBroker

pytestmark = pytest.mark.broker


def await_(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_a_gate_that_may_no_longer_read_decisions_is_degraded(secured: SecuredBroker, unique: str) -> None:
    secured.create_topics(unique)
    kafka = secured.settings(unique, secured.properties(STRANGER))
    reading = (ResourceType.TOPIC, kafka.decisions, AclOperation.READ)
    secured.allow(reading)
    gate = GateRunner(DecisionConsumer(kafka), RecordingActuator(), GateSettings(heartbeat_ms=2000))
    gate.start()
    try:
        await_(lambda: gate.stats.connected and gate.stats.degraded is None)
        secured.allow()
        await_(lambda: not gate.stats.connected and gate.stats.degraded is not None)
        secured.allow(reading)
        await_(lambda: gate.stats.connected and gate.stats.degraded is None)
    finally:
        gate.stop()
