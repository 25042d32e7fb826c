"""Silence of the broker and of the decisions; the age of a trigger; metrics."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable

import pytest

from actuators import GateSettings, GateState
from actuators.metrics import GateMetrics
from actuators.staleness import CaptureAgeEstimator
from schemas.clock import ManualClock
from schemas.errors import SettingsError
from tests.support.gate_records import make_decision
from tests.support.gates import SteppedGate
from transport.http_server import serve_http
from transport.tail import _health


def make_gate(**settings: float) -> SteppedGate:
    clock = ManualClock(utc_us=10**15, monotonic_s=1.0)
    return SteppedGate(clock, GateSettings(**{"belt_ms": 800, "fault_after": 0, **settings}))  # type: ignore[arg-type]


def test_a_lost_broker_is_said_once_and_holds_no_part(caplog: pytest.LogCaptureFixture) -> None:
    gate = make_gate()
    captured = gate.clock.utc_us()
    for contact_age_s in (0.5, 1.9, 2.1, 2.6):
        gate.source.contact_age_s = contact_age_s
        gate.turn()
    gate.expect("p", captured)
    gate.advance(0.799)
    assert gate.driver.instructions == []
    gate.advance(0.002)
    assert [(round(at, 3), i.reason.value) for at, i in gate.acts] == [(1.8, "failsafe-missing")]
    stats = gate.runner.stats
    assert (stats.state, stats.degradations) == (GateState.DEGRADED, 1)
    assert stats.degraded == "nothing heard of the broker for 2.6 s"
    gate.source.contact_age_s = 0.1
    gate.turn()
    assert gate.runner.stats.state is GateState.RUNNING
    said = [record.getMessage() for record in caplog.records if "DEGRADED" in record.getMessage()]
    assert len(said) == 2


def test_parts_without_decisions_are_silence_too(caplog: pytest.LogCaptureFixture) -> None:
    gate = make_gate()
    for n in range(5):
        gate.expect(f"p{n}", gate.clock.utc_us())
        gate.advance(0.5)
    assert gate.runner.stats.degraded is not None
    captured = gate.clock.utc_us()
    gate.offer(make_decision("p9", captured_at_us=captured, is_simulated=True))
    assert gate.runner.stats.degraded is not None, "a replay is no sign of life"
    gate.offer(make_decision("p9", captured_at_us=captured))
    gate.turn()
    assert gate.runner.stats.degraded is None
    # A line that stands is not silent.
    gate.advance(60)
    assert gate.runner.stats.degraded is None
    assert gate.runner.stats.degradations == 1


def test_no_heartbeat_no_alarm() -> None:
    gate = make_gate(heartbeat_ms=0)
    gate.source.contact_age_s = 1e9
    gate.expect("p", gate.clock.utc_us())
    gate.advance(100)
    assert gate.runner.stats.state is GateState.RUNNING


@pytest.mark.parametrize("heartbeat_ms", [-1, 1, 999, float("nan")])
def test_a_heartbeat_shorter_than_a_broker_has(heartbeat_ms: float) -> None:
    with pytest.raises(SettingsError, match="or 1000 to a day"):
        GateSettings(heartbeat_ms=heartbeat_ms)


S = 1_000_000


@pytest.mark.parametrize(
    ("what", "age_s"),
    [
        (lambda c: (c.advance(0.1),), 0.1),
        (lambda c: (c.advance(0.1), c.jump_utc(3600)), 0.1),
        (lambda c: (c.advance(0.1), c.jump_utc(-3600)), 0.1),
        (lambda c: (c.advance(0.1), c.jump_utc(0.3)), 0.1),
        (lambda c: (c.advance(0.1), c.jump_utc(-0.05)), 0.05),
        (lambda c: (c.advance(5.0),), 0.8),
    ],
    ids=["no jump", "an hour on", "an hour back", "a bit on", "a bit back", "long ago"],
)
def test_age_across_a_jump(what: Callable[[ManualClock], object], age_s: float) -> None:
    """Captured before the jump, triggered after it: never taken for older than it is."""
    clock = ManualClock(utc_us=10**15, monotonic_s=7.0)
    age = CaptureAgeEstimator(0.8, clock)
    what(clock)
    assert age.age_s(10**15) == pytest.approx(age_s, abs=1e-6)


@pytest.mark.parametrize("jump_s", [3600, -3600, 0.3, -0.3])
def test_age_long_after_a_jump_is_that_of_the_wall_clock(jump_s: float) -> None:
    clock = ManualClock(utc_us=10**15, monotonic_s=7.0)
    age = CaptureAgeEstimator(0.8, clock)
    clock.jump_utc(jump_s)
    age.update()
    clock.advance(1.0)
    captured = clock.utc_us()
    clock.advance(0.4)
    assert age.age_s(captured) == pytest.approx(0.4, abs=1e-6)
    assert len(age._offsets) == 1


def broker(node: int, state: str = "UP", idle: int = 500_000) -> dict[str, object]:
    return {"nodeid": node, "state": state, "rxidle": idle}


@pytest.mark.parametrize(
    ("brokers", "leaders", "is_up", "idle_s"),
    [
        ([broker(1)], [1], True, 0.5),
        ([broker(1), broker(2, idle=9_000_000)], [1, 2], True, 9.0),
        ([broker(1), broker(2, "DOWN")], [1, 2], False, None),
        ([broker(1), broker(2, "DOWN")], [1], True, 0.5),
        ([broker(1, idle=-1)], [1], True, None),
        ([broker(-1)], [], False, None),
        ([], [1], False, None),
    ],
)
def test_health_is_that_of_the_leaders(
    brokers: list[dict[str, object]], leaders: list[int], is_up: bool, idle_s: float | None
) -> None:
    partitions = {str(n): {"partition": n, "leader": leader} for n, leader in enumerate(leaders)}
    partitions["-1"] = {"partition": -1, "leader": -1}
    statistics = {
        "brokers": {str(n): found for n, found in enumerate(brokers)},
        "topics": {"t": {"partitions": partitions}},
    }
    assert _health(statistics, "t") == (is_up, idle_s)


def test_metrics_say_what_the_stats_say() -> None:
    gate = make_gate(fault_after=2)
    captured = gate.clock.utc_us()
    gate.expect("ok", captured)
    gate.offer(make_decision("ok", captured_at_us=captured))
    for name in "abc":
        gate.expect(name, captured)
    gate.advance(0.9)
    gate.offer(make_decision("a", captured_at_us=captured))
    metrics = GateMetrics(lambda: gate.runner.stats)
    with serve_http(metrics.registry, 0) as url, urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    wanted = {
        'inspection_gate_parts_total{why="decided"}': 1,
        'inspection_gate_parts_total{why="failsafe-missing"}': 2,
        'inspection_gate_parts_total{why="failsafe-fault"}': 1,
        'inspection_gate_actions_total{action="accepted"}': 1,
        'inspection_gate_actions_total{action="rejected"}': 3,
        'inspection_gate_unused_decisions_total{why="late"}': 1,
        "inspection_gate_fault": 1,
        "inspection_gate_faults_total": 1,
        "inspection_gate_connected": 1,
        "inspection_gate_degraded": 0,
        "inspection_gate_act_lateness_seconds_count": 4,
    }
    assert {name: float(lines[name]) for name in wanted} == wanted
