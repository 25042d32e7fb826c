"""FAULT: who is told, what is on file, who ends it."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import pytest

from actuators import GateError, GateRunner, GateSettings, GateState, InstructionReason
from actuators.acted_log import ActedLog
from actuators.fault import Fault
from actuators.fault_reset import reset_fault, standing
from actuators.fault_store import FaultStore, PersistedFault, Reset
from actuators.testing import ListDecisions, RecordingActuator
from schemas import Action
from schemas.clock import ManualClock
from schemas.errors import SettingsError
from tests.support.gate_records import make_decision, make_frame, now_us
from tests.support.gates import SteppedGate

FAULT = Fault("f1", 1_000_000, "3 parts in a row without a usable decision", 3)


def make_gate(directory: Path | None = None, after: int = 2, **settings: object) -> SteppedGate:
    clock = ManualClock(utc_us=10**15, monotonic_s=1.0)
    return SteppedGate(clock, GateSettings(belt_ms=100, fault_after=after, **settings), directory)  # type: ignore[arg-type]


def pass_part(gate: SteppedGate, name: str, *actions: Action) -> tuple[Action, InstructionReason]:
    captured = gate.clock.utc_us()
    gate.expect(name, captured)
    for number, action in enumerate(actions):
        gate.offer(make_decision(name, action, model=str(number), captured_at_us=captured))
    gate.advance(0.101)
    instruction = gate.driver.instructions[-1]
    assert instruction.part_key == name
    return instruction.action, instruction.reason


def test_in_fault_nothing_is_accepted_until_a_person_resets_it(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    assert pass_part(gate, "a") == (Action.REJECT, InstructionReason.FAILSAFE_MISSING)
    assert gate.driver.line_calls == []
    assert pass_part(gate, "b", Action.ACCEPT, Action.REJECT) == (Action.REJECT, InstructionReason.CONFLICT)
    assert gate.driver.line_calls == ["stop_line"]
    for name in "cd":
        assert pass_part(gate, name, Action.ACCEPT) == (Action.REJECT, InstructionReason.FAILSAFE_FAULT)
    assert gate.driver.line_calls == ["stop_line"]
    stats = gate.runner.stats
    assert (stats.state, stats.faults, stats.tracker.failsafe_fault) == (GateState.FAULT, 1, 2)
    assert gate.runner.reset("eva", "the worker was off")
    gate.turn()
    assert gate.driver.line_calls == ["stop_line", "release_line"]
    assert pass_part(gate, "e", Action.ACCEPT) == (Action.ACCEPT, InstructionReason.DECIDED)
    assert gate.runner.stats.state is GateState.RUNNING
    assert not gate.runner.reset("eva", "again")
    gate.kill()


def test_in_fault_the_failsafe_is_the_one_of_the_settings() -> None:
    gate = make_gate(after=1, failsafe=Action.REVIEW)
    pass_part(gate, "a")
    assert pass_part(gate, "b", Action.REJECT) == (Action.REVIEW, InstructionReason.FAILSAFE_FAULT)


@pytest.mark.parametrize(("who", "note"), [("", "looked"), ("eva", " ")])
def test_a_reset_has_a_name_and_a_note(who: str, note: str) -> None:
    gate = make_gate(after=1)
    pass_part(gate, "a")
    with pytest.raises(SettingsError, match="names who"):
        gate.runner.reset(who, note)
    assert gate.runner.stats.fault is not None


def test_it_survives_a_kill_and_a_reset_does_too(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    pass_part(gate, "a")
    pass_part(gate, "b")
    gate.kill()
    gate = make_gate(tmp_path)
    assert gate.driver.line_calls == ["stop_line"]
    assert pass_part(gate, "c", Action.ACCEPT) == (Action.REJECT, InstructionReason.FAILSAFE_FAULT)
    gate.runner.reset("eva", "looked")
    gate.kill()
    gate = make_gate(tmp_path)
    assert gate.driver.line_calls == []
    assert pass_part(gate, "d", Action.ACCEPT) == (Action.ACCEPT, InstructionReason.DECIDED)
    gate.kill()


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"state": "RUNNING"}', b"[" * 100_000,
        b'{"state": "FAULT", "fault": null, "last_reset": null}',
        b'{"state": "OK", "fault": null, "last_reset": null}',
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_fault(tmp_path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "gate.fault.json").write_bytes(garbage)
    with caplog.at_level(logging.ERROR):
        gate = make_gate(tmp_path)
    (said,) = (record.getMessage() for record in caplog.records)
    assert "starts in FAULT" in said
    assert "\n" not in said
    assert pass_part(gate, "a", Action.ACCEPT) == (Action.REJECT, InstructionReason.FAILSAFE_FAULT)
    # And from now on the file can be read.
    stored = FaultStore(tmp_path).load(0)
    assert stored.is_readable
    assert stored.fault == gate.runner.stats.fault
    gate.kill()


@pytest.mark.parametrize("spoil", ["garbage", "removed"])
def test_a_file_spoilt_while_the_gate_runs_is_put_right(tmp_path: Path, spoil: str) -> None:
    gate = make_gate(tmp_path, after=1)
    pass_part(gate, "a")
    path = tmp_path / "gate.fault.json"
    path.write_text("garbage") if spoil == "garbage" else path.unlink()
    gate.clock.advance(0.3)
    gate.turn()
    assert FaultStore(tmp_path).load(0).fault == gate.runner.stats.fault
    gate.kill()


def test_a_reset_names_its_fault_and_ends_no_other(tmp_path: Path) -> None:
    store = FaultStore(tmp_path)
    store.request(Reset("an-earlier-one", "eva", "looked", 0))
    gate = make_gate(tmp_path, after=1)
    pass_part(gate, "a")
    gate.clock.advance(0.3)
    gate.turn()
    assert gate.runner.stats.fault is not None
    assert store.take_request() is None
    (tmp_path / "gate.reset.json").write_text('{"fault_id": 3}')
    gate.clock.advance(0.3)
    gate.turn()
    assert gate.runner.stats.fault is not None
    gate.kill()


def test_a_full_disk_stops_neither_the_fault_nor_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = make_gate(tmp_path, after=1)
    is_full = True
    save = FaultStore.save

    def full(store: FaultStore, stored: PersistedFault) -> None:
        if is_full:
            raise SettingsError("cannot write: No space left on device")
        save(store, stored)

    monkeypatch.setattr(FaultStore, "save", full)
    pass_part(gate, "a")
    assert gate.driver.line_calls == ["stop_line"]
    assert pass_part(gate, "b", Action.ACCEPT) == (Action.REJECT, InstructionReason.FAILSAFE_FAULT)
    with pytest.raises(SettingsError, match="No space"):
        gate.runner.reset("eva", "looked")
    assert gate.runner.stats.fault is not None
    is_full = False
    gate.clock.advance(0.3)
    gate.turn()
    assert FaultStore(tmp_path).load(0).fault == gate.runner.stats.fault
    gate.kill()


def test_a_driver_that_cannot_stop_the_line_and_one_that_fails_to(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(RecordingActuator):
        def stop_line(self, reason: str) -> None:
            raise OSError("relay")

        def release_line(self) -> None:
            raise OSError("relay")

    class Silent(RecordingActuator):
        stop_line = release_line = None  # type: ignore[assignment]

    for driver, errors in ((Silent(), 0), (Failing(), 1)):
        gate = GateRunner(ListDecisions(), driver, GateSettings(belt_ms=20, fault_after=1))
        gate.start()
        for n in range(3):
            gate.expect_frame(make_frame(f"p{n}", captured_at_us=now_us()))
        gate.stop()
        assert len(driver.instructions) == 3
        assert gate.stats.act_errors == errors
    assert "the driver Silent cannot stop the line" in caplog.text


def test_one_gate_for_a_directory(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    store = FaultStore(tmp_path)
    with pytest.raises(SettingsError, match="in use by another gate"):
        store.open(patience_s=0.1)
    gate.kill()
    store.open()
    store.close()


def test_a_gate_that_may_not_start_leaves_the_fault_of_the_other_one(tmp_path: Path) -> None:
    store = FaultStore(tmp_path)
    store.open()
    stored = PersistedFault(FAULT, Reset("f0", "eva", "looked", 1))
    store.save(stored)
    before = store.path.stat().st_ino
    with pytest.raises(SettingsError, match="in use by another gate"):
        GateRunner(ListDecisions(), RecordingActuator(), GateSettings(), state_dir=tmp_path).start()
    assert store.load(0) == stored
    assert store.path.stat().st_ino == before
    store.close()


def test_standing_and_reset_of_a_gate_that_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no gate has kept"):
        standing(tmp_path / "nowhere")
    store = FaultStore(tmp_path)
    store.open()
    store.save(PersistedFault(FAULT))
    store.close()
    assert standing(tmp_path).fault == FAULT
    assert not standing(tmp_path).is_gate_running
    after = reset_fault(tmp_path, "eva", "looked")
    assert after.fault is None
    assert after.last_reset is not None
    assert (after.last_reset.who, after.last_reset.note, after.last_reset.fault_id) == ("eva", "looked", "f1")
    with pytest.raises(SettingsError, match="not in FAULT"):
        reset_fault(tmp_path, "eva", "looked")
    store.path.write_text("garbage")
    assert standing(tmp_path).fault is not None
    assert reset_fault(tmp_path, "eva", "looked").fault is None


@pytest.mark.parametrize("spoilt", [False, True])
def test_reset_of_a_gate_that_runs(tmp_path: Path, spoilt: bool) -> None:
    gate = GateRunner(ListDecisions(), RecordingActuator(), GateSettings(belt_ms=20, fault_after=1), state_dir=tmp_path)
    gate.start()
    try:
        with pytest.raises(SettingsError, match="not in FAULT"):
            reset_fault(tmp_path, "eva", "looked")
        gate.expect_frame(make_frame("p", captured_at_us=now_us()))
        deadline = time.monotonic() + 5
        while standing(tmp_path).fault is None:
            assert time.monotonic() < deadline
        assert standing(tmp_path).is_gate_running
        if spoilt:
            (tmp_path / "gate.fault.json").write_text("garbage")
        after = reset_fault(tmp_path, "eva", "looked")
        assert after.fault is None
        assert after.is_gate_running
        assert gate.stats.fault is None
    finally:
        gate.stop()
    with pytest.raises(GateError, match="does not run"):
        gate.reset("eva", "looked")


def test_a_gate_that_hangs_does_not_take_the_reset(tmp_path: Path) -> None:
    store = FaultStore(tmp_path)
    store.open()
    store.save(PersistedFault(FAULT))
    with pytest.raises(GateError, match="did not take the reset"):
        reset_fault(tmp_path, "eva", "looked", timeout_s=0.2)
    store.close()


def test_resets_by_many_at_once(tmp_path: Path) -> None:
    gate = make_gate(tmp_path, after=1)
    pass_part(gate, "a")
    done: list[bool] = []
    threads = [threading.Thread(target=lambda: done.append(gate.runner.reset("eva", "looked"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(done)
    gate.turn()
    assert gate.driver.line_calls == ["stop_line", "release_line"]
    assert FaultStore(tmp_path).load(0).fault is None
    gate.kill()


def test_acts_of_a_former_run_are_not_repeated(tmp_path: Path) -> None:
    gate = make_gate(tmp_path, after=0)
    captured = gate.clock.utc_us()
    pass_part(gate, "a", Action.ACCEPT)
    gate.kill()
    gate = make_gate(tmp_path, after=0)
    assert not gate.expect("a", captured)
    gate.offer(make_decision("a", captured_at_us=captured))
    gate.advance(1)
    assert gate.driver.instructions == []
    counts = gate.runner.stats.tracker
    assert (counts.repeated_triggers, counts.late, counts.actuated) == (1, 1, 0)
    gate.kill()


def test_the_log_of_acts_stays_small_and_survives_a_torn_line(tmp_path: Path) -> None:
    acted = ActedLog(tmp_path, limit=10)
    acted.open()
    for n in range(95):
        assert acted.add(("s", "c", f"p{n}"), n)
    acted.close()
    assert len(acted.path.read_bytes().split()) < 20 * 4 + 1
    with acted.path.open("ab") as file:
        file.write(b'\n["s", "c", "torn", 9')
    found = acted.open()
    assert [n for _, n in found] == list(range(85, 95))
    acted.add(("s", "c", "next"), 95)
    acted.close()
    assert acted.open()[-1] == (("s", "c", "next"), 95)
    acted.close()


def test_a_log_of_acts_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    gate = make_gate(tmp_path, after=0)
    assert gate.runner._acted is not None
    file = gate.runner._acted._file
    gate.runner._acted._file = os.open("/dev/full", os.O_WRONLY)
    assert pass_part(gate, "a", Action.ACCEPT) == (Action.ACCEPT, InstructionReason.DECIDED)
    assert gate.runner.stats.state_errors == 1
    assert file is not None
    os.close(file)
    gate.kill()
