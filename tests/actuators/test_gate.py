"""The running gate, without Kafka."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from actuators import GateError, GateRunner, GateSettings
from actuators.fault_reset import standing
from actuators.testing import ListDecisions, RecordingActuator
from schemas import Action
from schemas.errors import SettingsError
from tests.support.gate_records import make_decision, make_frame, now_us


def make_gate(**settings: object) -> tuple[GateRunner, ListDecisions, RecordingActuator]:
    source, recorder = ListDecisions(), RecordingActuator()
    return GateRunner(source, recorder, GateSettings(**{"belt_ms": 120, **settings})), source, recorder  # type: ignore[arg-type]


@pytest.mark.alone
def test_acts_at_the_belt_time_and_drains_on_stop() -> None:
    gate, source, recorder = make_gate()
    gate.start()
    assert gate.ready
    began = time.monotonic()
    captured = now_us()
    for n in range(3):
        gate.expect_frame(make_frame(f"p{n}", captured_at_us=captured + n * 1000))
    source.waiting.append(make_decision("p1", captured_at_us=captured))
    gate.stop()
    assert [(i.part_key, i.action.value) for i in recorder.instructions] == [
        ("p0", "REJECT"),
        ("p1", "ACCEPT"),
        ("p2", "REJECT"),
    ]
    assert all(0.118 <= at - began <= 0.2 for at in recorder.acted_at_s)
    assert not recorder.is_open
    assert not source.ready
    assert gate.stats.tracker.actuated == 3
    assert len(gate.latencies_ms) == 1
    with pytest.raises(GateError, match="does not run"):
        gate.expect_frame(make_frame("p9", captured_at_us=now_us()))
    gate.stop()


def test_many_threads_expect() -> None:
    gate, _, recorder = make_gate()
    gate.start()
    threads = [
        threading.Thread(
            target=lambda k=k: [
                gate.expect(f"{k}-{n}", station="s", camera_id="c", captured_at_us=now_us()) for n in range(100)
            ]
        )
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate.stop()
    assert len({i.part_key for i in recorder.instructions}) == len(recorder.instructions) == 400


def test_an_actuator_that_fails_does_not_stop_the_gate() -> None:
    gate, _, recorder = make_gate()
    recorder.error = OSError("valve stuck")
    gate.start()
    for n in range(3):
        gate.expect_frame(make_frame(f"p{n}", captured_at_us=now_us()))
    gate.stop()
    assert len(recorder.instructions) == 3
    assert gate.stats.act_errors == 3


def test_a_callback_that_fails_does_not_stop_the_gate() -> None:
    seen = []

    def on_action(instruction: object, decision: object) -> None:
        seen.append(instruction)
        raise KeyError("oops")

    gate = GateRunner(ListDecisions(), RecordingActuator(), GateSettings(belt_ms=20), on_action=on_action)
    gate.start()
    gate.expect_frame(make_frame("p1", captured_at_us=now_us()))
    gate.expect_frame(make_frame("p2", captured_at_us=now_us()))
    gate.stop()
    assert len(seen) == 2


def test_a_gate_that_dies_leaves_the_actuator_closed_and_says_so() -> None:
    gate, source, recorder = make_gate()
    gate.start()
    source.error = RuntimeError("broken")
    while gate.is_running:
        time.sleep(0.005)
    with pytest.raises(GateError, match="does not run"):
        gate.expect_frame(make_frame(captured_at_us=now_us()))
    with pytest.raises(GateError, match="broken"):
        gate.stop()
    assert not recorder.is_open


def test_an_actuator_that_does_not_open_leaves_nothing_open() -> None:
    source, recorder = ListDecisions(), RecordingActuator()
    recorder.open = lambda: (_ for _ in ()).throw(SettingsError("no such pin"))  # type: ignore[method-assign]
    with pytest.raises(SettingsError, match="no such pin"):
        GateRunner(source, recorder).start()
    assert not source.ready


@pytest.mark.parametrize(("broken", "is_closed"), [("actuator", True), ("consumer", False)])
def test_a_driver_that_fails_to_open_goes_to_its_safe_position(broken: str, is_closed: bool) -> None:
    """Fail while the hardware is opened, and before: hardware that was not touched is left alone."""
    source, recorder = ListDecisions(), RecordingActuator()
    closed: list[str] = []

    def fail() -> None:
        raise SettingsError("no answer")

    (recorder if broken == "actuator" else source).open = fail  # type: ignore[method-assign]
    recorder.close = lambda: closed.append("actuator")  # type: ignore[method-assign]
    with pytest.raises(SettingsError, match="no answer"):
        GateRunner(source, recorder).start()
    assert bool(closed) is is_closed


def test_what_fails_to_close_leaves_nothing_else_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError("no answer")

    source = ListDecisions()
    gate = GateRunner(source, RecordingActuator(), GateSettings(belt_ms=20, fault_after=1), state_dir=tmp_path)
    gate.start()
    gate.expect_frame(make_frame("p1", captured_at_us=now_us()))
    source.close = fail  # type: ignore[method-assign]
    gate.stop()
    assert not standing(tmp_path).is_gate_running
    assert standing(tmp_path).fault is not None
    assert "the consumer cannot be closed" in caplog.text


def test_failsafes_in_a_row_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    faults: list[int] = []
    gate = GateRunner(
        ListDecisions(), RecordingActuator(), GateSettings(belt_ms=20, fault_after=2), on_fault=faults.append
    )
    gate.start()
    for n in range(5):
        gate.expect_frame(make_frame(f"p{n}", captured_at_us=now_us()))
    gate.stop()
    assert faults == [2]
    # There is no file through which `inspection gate reset` could reach it.
    assert "accepts nothing until it starts again (it has no --state-dir)" in caplog.text


def test_deadline_of_the_frame_counts_unless_the_settings_name_one() -> None:
    for settings, why in (({}, "failsafe-late"), ({"decide_by_ms": 110.0}, "decided")):
        gate, source, recorder = make_gate(**settings)
        gate.start()
        captured = now_us()
        gate.expect_frame(make_frame(captured_at_us=captured, deadline_ms=20))
        time.sleep(0.05)
        source.waiting.append(make_decision(captured_at_us=captured))
        gate.stop()
        assert [i.reason.value for i in recorder.instructions] == [why]


@pytest.mark.parametrize(
    "settings",
    [
        {"belt_ms": 0},
        {"decide_by_ms": 0},
        {"belt_ms": 100, "decide_by_ms": 101},
        {"failsafe": Action.ACCEPT},
        {"fault_after": -1},
    ],
)
def test_impossible_settings(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        GateSettings(**settings)  # type: ignore[arg-type]
