"""Belts that stop, and gates that were suspended: time stands for a position."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from actuators import GateSettings, Instruction, InstructionReason, PartTracker
from actuators.acted_log import ActedLog
from actuators.belt import BeltWatch
from actuators.belt_file import BeltFile
from actuators.fault_store import Fault, FaultStore, PersistedFault
from actuators.metrics import GateMetrics
from actuators.staleness import StalenessFilter
from actuators.suspension import suspended_s
from infra.cli.root import app
from schemas import Action
from schemas.clock import ManualClock
from tests.support.gate_records import make_decision, make_part
from tests.support.gates import SteppedGate

ACCEPT, REJECT = Action.ACCEPT, Action.REJECT


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def make_gate(directory: Path | None = None, **settings: object) -> SteppedGate:
    values = {"belt_ms": 800, **settings}
    return SteppedGate(ManualClock(utc_us=10**15, monotonic_s=1.0), GateSettings(**values), directory)  # type: ignore[arg-type]


def send(gate: SteppedGate, name: str, action: Action = ACCEPT) -> None:
    captured = gate.clock.utc_us()
    gate.expect(name, captured)
    gate.offer(make_decision(name, action, captured_at_us=captured))


def test_a_file_that_cannot_be_looked_at_keeps_the_last_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fails: list[int] = []
    lstat = os.lstat

    def look(path: Path) -> os.stat_result:
        if fails:
            raise OSError(fails[0], "no answer")
        return lstat(path)

    monkeypatch.setattr("actuators.belt_file.os.lstat", look)
    for number in (errno.EACCES, errno.EIO, errno.ESTALE):
        file = BeltFile(tmp_path)
        fails[:] = [number]
        assert file.is_stopped(), "nothing is known of the belt"
        fails.clear()
        assert not file.is_stopped()
        fails[:] = [number]
        assert not file.is_stopped()
        fails.clear()
        file.stop("ada")
        assert file.is_stopped()
        fails[:] = [number]
        caplog.clear()
        assert file.is_stopped()
        assert file.is_stopped()
        assert len(caplog.records) == 1
        fails.clear()
        assert file.resume()
    assert not BeltFile(tmp_path / "none").is_stopped()
    (tmp_path / "file").touch()
    assert not BeltFile(tmp_path / "file").is_stopped()


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN"])
def test_a_number_that_is_none_stops_the_belt_and_is_no_act(tmp_path: Path, number: str) -> None:
    (tmp_path / "gate.belt-stopped.json").write_text(f'{{"who": "a", "note": "b", "at_us": {number}}}')
    stop = BeltFile(tmp_path).load()
    assert stop is not None
    assert stop.who == "unknown"
    (tmp_path / "gate.acted.jsonl").write_text(f'["s", "c", "p", {number}]\n["s", "c", "q", 5]\n')
    acted = ActedLog(tmp_path)
    assert acted.open() == [(("s", "c", "q"), 5)]
    acted.close()


def test_five_parts_on_a_belt_that_stands_for_ten_seconds() -> None:
    """Run a belt at 1 m/s to a gate at 0.8 m and stop it at 0.5 s: no part is instructed before it is at the gate."""
    gate = make_gate()
    for number in range(5):
        send(gate, f"p{number}", REJECT if number == 2 else ACCEPT)
        gate.advance(0.1)
    gate.runner.belt_stopped()
    gate.runner.belt_stopped()
    gate.advance(10)
    assert gate.driver.instructions == []
    stats = gate.runner.stats
    assert (stats.belt_stopped, stats.pending, stats.tracker.standstills) == (True, 5, 1)
    send(gate, "while it stands")
    gate.runner.belt_moving()
    gate.runner.belt_moving()
    send(gate, "afterwards")
    gate.advance(2)
    given = [(i.part_key, i.action, i.reason) for _, i in gate.acts]
    stopped = [*(f"p{number}" for number in range(5)), "while it stands"]
    assert given[:6] == [(name, REJECT, InstructionReason.BELT_STOPPED) for name in stopped]
    assert given[6:] == [("afterwards", ACCEPT, InstructionReason.DECIDED)]
    # Each part arrives after 0.8 s of movement since its capture.
    moments = [at - 1.0 for at, _ in gate.acts]
    assert moments == pytest.approx([10.8, 10.9, 11.0, 11.1, 11.2, 11.3, 11.3], abs=1e-3)
    assert all(abs(at - i.act_at_s) < 1e-3 for at, i in gate.acts)
    metrics = GateMetrics(lambda: gate.runner.stats).registry
    assert metrics.get_sample_value("inspection_gate_parts_total", {"why": "belt-stopped"}) == 6
    assert metrics.get_sample_value("inspection_gate_belt_stopped") == 0


def test_a_belt_that_stands_leads_to_no_fault_and_ends_no_row() -> None:
    gate = make_gate(fault_after=3)
    for name in ("missing", "missing too"):
        gate.expect(name, gate.clock.utc_us())
        gate.advance(1)
    for number in range(5):
        send(gate, f"p{number}")
    gate.runner.belt_stopped()
    gate.runner.belt_moving()
    gate.advance(1)
    assert gate.runner.stats.fault is None
    gate.expect("missing three", gate.clock.utc_us())
    gate.advance(1)
    assert "3 parts in a row" in str(gate.runner.stats.fault)


def test_each_part_waits_for_the_standstills_that_it_was_in() -> None:
    gate = make_gate()
    send(gate, "both")
    gate.runner.belt_stopped()
    gate.advance(1)
    gate.runner.belt_moving()
    gate.advance(0.3)
    send(gate, "second")
    gate.runner.belt_stopped()
    gate.advance(1)
    gate.runner.belt_moving()
    gate.advance(5)
    moments = {i.part_key: at - 1.0 for at, i in gate.acts}
    assert moments == pytest.approx({"both": 2.8, "second": 3.1}, abs=1e-3)


def test_a_gate_that_ends_on_a_belt_that_stands_gives_each_part_the_failsafe(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    send(gate, "p")
    BeltFile(tmp_path).stop("ada")
    gate.advance(2)
    assert gate.driver.instructions == []
    gate.runner._closing = True
    while gate.runner._run_once():
        pass
    assert [(i.part_key, i.reason) for _, i in gate.acts] == [("p", InstructionReason.BELT_STOPPED)]
    gate.kill()


def test_another_process_stops_the_belt_and_a_restart_knows_it(tmp_path: Path) -> None:
    no_gate = run("gate", "suspend", "--state-dir", str(tmp_path))
    assert no_gate.exit_code == 1
    gate = make_gate(tmp_path)
    assert run("gate", "suspend", "--state-dir", str(tmp_path), "--note", "jam", "--who", "ada\x1b[2J").exit_code == 0
    status = run("gate", "status", "--state-dir", str(tmp_path))
    assert "says ada" in status.output
    assert "jam" in status.output
    assert "\x1b" not in status.output
    gate.advance(0.1)
    assert gate.runner.stats.belt_stopped
    gate.kill()
    gate = make_gate(tmp_path)
    assert gate.runner.stats.belt_stopped, "a gate that starts while the belt stands knows it"
    assert "the belt moves" in run("gate", "resume", "--state-dir", str(tmp_path)).output
    assert "no stop of the belt was reported" in run("gate", "resume", "--state-dir", str(tmp_path)).output
    gate.advance(0.1)
    assert not gate.runner.stats.belt_stopped
    gate.kill()


def test_a_file_that_cannot_be_read_stops_the_belt_all_the_same(tmp_path: Path) -> None:
    file = BeltFile(tmp_path)
    file.path.write_text("{")
    assert file.is_stopped()
    assert "cannot be read" in str(file.load())


def test_parts_that_passed_while_the_gate_stood_still_are_not_accepted(caplog: pytest.LogCaptureFixture) -> None:
    gate = make_gate()
    for name in ("in time", "passed"):
        send(gate, name)
        gate.advance(0.7)
    gate.advance(0.05)
    # The gate gets no turn until the second part is 0.55 s past it.
    gate.clock.advance(0.6)
    send(gate, "next")
    gate.advance(2)
    assert [(i.part_key, i.action, i.reason) for _, i in gate.acts] == [
        ("in time", ACCEPT, InstructionReason.DECIDED),
        ("passed", REJECT, InstructionReason.FAILSAFE_PASSED),
        ("next", ACCEPT, InstructionReason.DECIDED),
    ]
    assert gate.runner.stats.gaps >= 1
    assert gate.runner.stats.tracker.failsafe_passed == 1
    assert "the gate stood still for" in caplog.text


def test_parts_that_pass_while_the_driver_is_slow_are_not_accepted() -> None:
    gate = make_gate()
    act = gate.driver.act

    def slow(instruction: Instruction) -> None:
        act(instruction)
        gate.clock.advance(1.0)

    gate.driver.act = slow  # type: ignore[method-assign]
    for name in ("in time", "passed", "passed meanwhile"):
        send(gate, name)
        gate.clock.advance(0.1)
    # All three have arrived by the next turn, and none of them has passed the gate by more than 0.3 s.
    gate.clock.advance(0.8)
    gate.turn()
    assert [(i.part_key, i.action, i.reason) for _, i in gate.acts] == [
        ("in time", ACCEPT, InstructionReason.DECIDED),
        ("passed", REJECT, InstructionReason.FAILSAFE_PASSED),
        ("passed meanwhile", REJECT, InstructionReason.FAILSAFE_PASSED),
    ]


def test_parts_behind_a_slow_act_get_the_failsafe_if_the_belt_stops_meanwhile() -> None:
    gate = make_gate(max_lateness_ms=0)
    act = gate.driver.act

    def slow(instruction: Instruction) -> None:
        act(instruction)
        gate.runner.belt_stopped()

    gate.driver.act = slow  # type: ignore[method-assign]
    for name in ("at the gate", "behind it"):
        send(gate, name)
    gate.advance(1.0)
    gate.runner.belt_moving()
    gate.advance(5)
    assert [(i.part_key, i.reason) for _, i in gate.acts] == [
        ("at the gate", InstructionReason.DECIDED),
        ("behind it", InstructionReason.BELT_STOPPED),
    ]


def test_without_a_limit_a_late_act_is_what_was_decided() -> None:
    gate = make_gate(max_lateness_ms=0)
    send(gate, "p")
    gate.clock.advance(5)
    gate.turn()
    assert [i.reason for _, i in gate.acts] == [InstructionReason.DECIDED]


def test_a_machine_that_was_suspended_knows_no_position(caplog: pytest.LogCaptureFixture) -> None:
    """Suspend the machine: the monotonic clock stops, and the belt does not."""
    clock, slept = ManualClock(), [100.0]
    tracker = PartTracker(clock)
    watch = BeltWatch(tracker, threading.Lock(), clock, None, gap_s=0.5, suspension_s=lambda: slept[0])
    watch.check()
    tracker.expect(make_part())
    tracker.offer(make_decision())
    slept[0] += 3_600
    with caplog.at_level(logging.ERROR):
        watch.check()
    assert [i.reason for i in tracker.due(1)] == [InstructionReason.BELT_STOPPED]
    assert watch.gaps == 1
    assert "suspended for 3600.0 s: 1 parts" in caplog.text
    tracker.expect(make_part("p2", act_at_s=2, decide_by_s=2))
    tracker.offer(make_decision("p2"))
    watch.check()
    assert [i.reason for i in tracker.due(2)] == [InstructionReason.DECIDED]


def test_what_was_captured_while_the_machine_was_suspended_is_history() -> None:
    """Suspend the machine for eight hours: what came into the topics meanwhile must neither trigger nor act."""
    clock, slept = ManualClock(utc_us=10**15), [100.0]
    age = StalenessFilter(10, clock, lambda: slept[0])
    clock.jump_utc(8 * 3600)
    slept[0] += 8 * 3600
    assert [age.is_old(clock.utc_us() - seconds * 10**6) for seconds in (7 * 3600, 11, 9)] == [True, True, False]
    clock.jump_utc(3600)  # somebody sets the clock: nothing of that is history
    assert not age.is_old(clock.utc_us() - 3609 * 10**6)


def test_time_asleep_is_that_of_the_machine() -> None:
    assert abs(suspended_s() - suspended_s()) < 0.1


def test_a_reset_tells_that_the_belt_stands(tmp_path: Path) -> None:
    store = FaultStore(tmp_path)
    store.open()
    store.save(PersistedFault(Fault("f1", 0, "3 parts in a row without a usable decision", 3)))
    store.close()
    BeltFile(tmp_path).stop("eva", "jam")
    where = ("--state-dir", str(tmp_path))
    reset = run("gate", "reset", *where, "--note", "looked", "--bootstrap-servers", "127.0.0.1:9", "--json")
    assert json.loads(reset.stdout)["belt_stop"]["note"] == "jam"
    assert reset.stdout == run("gate", "status", *where, "--json").stdout
