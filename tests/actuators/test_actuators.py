"""One contract for every actuator, the journal, and how drivers are found."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actuators import Actuator, Belt, Instruction, InstructionReason, SimulatedGate, load_actuator
from actuators.journal import Journal
from actuators.testing import check_actuator
from schemas import Action
from schemas.clock import ManualClock
from schemas.errors import PluginError, SettingsError
from tests.support.gate_records import make_decision
from transport.chained_file import check_lines


def instruction(**changes: object) -> Instruction:
    values = dict(
        part_key="p1",
        station="s",
        camera_id="cam",
        action=Action.ACCEPT,
        reason=InstructionReason.DECIDED,
        captured_at_us=1_000,
        act_at_us=801_000,
        act_at_s=0.8,
        decision=make_decision(),
        armed_at_us=9_000,
    )
    return Instruction(**{**values, **changes})  # type: ignore[arg-type]


ACTUATORS: dict[str, Callable[[Path], Actuator]] = {
    "simulated": lambda _: SimulatedGate(),
    "simulated-journal": lambda path: SimulatedGate(path / "deep" / "gate.jsonl"),
    "by name": lambda _: load_actuator("actuators.testing:RecordingActuator"),
}


@pytest.mark.parametrize("name", ACTUATORS)
def test_contract(name: str, tmp_path: Path) -> None:
    check_actuator(lambda: ACTUATORS[name](tmp_path))


@pytest.mark.parametrize("name", ACTUATORS)
def test_a_driver_may_be_opened_again(name: str, tmp_path: Path) -> None:
    actuator = ACTUATORS[name](tmp_path)
    for _ in range(2):
        actuator.open()
        actuator.act(instruction())
        actuator.close()


def test_journal_has_a_line_a_part(tmp_path: Path) -> None:
    path = tmp_path / "gate.jsonl"
    gate = SimulatedGate(path, ManualClock(utc_us=802_500, monotonic_s=0.8025))
    gate.open()
    gate.act(instruction(decision=make_decision(score=float("nan"))))
    assert len(path.read_text().splitlines()) == 1  # before it is closed
    gate.act(instruction(part_key="p2", reason=InstructionReason.FAILSAFE_LATE, decision=None, armed_at_us=None))
    gate.close()
    lines = path.read_bytes().splitlines()
    decided, failsafe = map(json.loads, lines)
    assert [(each.pop("line"), each.pop("previous")) for each in (decided, failsafe)] == [
        (1, ""), (2, hashlib.sha256(lines[0]).hexdigest())
    ]  # fmt: skip
    assert decided == {
        "part_key": "p1",
        "station": "s",
        "camera_id": "cam",
        "action": "ACCEPT",
        "why": "decided",
        "episode_id": None,
        "decision_id": make_decision().decision_id,
        "verdict": "OK",
        "score": None,
        "reason": "r",
        "captured_at_us": 1_000,
        "decided_at_us": 0,
        "armed_at_us": 9_000,
        "act_at_us": 801_000,
        "acted_at_us": 802_500,
        "lateness_ms": 2.5,
    }
    assert (failsafe["part_key"], failsafe["why"], failsafe["decision_id"]) == ("p2", "failsafe-late", None)


def test_a_full_disk_does_not_stop_the_gate() -> None:
    journal = Journal(Path("/dev/full"))
    journal.open()
    journal.write(instruction())
    journal.write(instruction())
    journal.close()
    assert (journal.errors, journal.lines) == (2, 0)


def test_two_gates_do_not_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "gate.jsonl"
    first, second = Journal(path), Journal(path)
    first.open()
    first.write(instruction())
    with pytest.raises(SettingsError, match=r"gate\.jsonl is in use by another gate") as caught:
        second.open()
    assert "\n" not in str(caught.value)
    first.write(instruction())
    first.close()
    second.open()
    second.write(instruction())
    second.close()
    assert list(check_lines(path.read_bytes().splitlines())) == []


def test_a_device_is_no_journal_of_one_gate() -> None:
    journals = [Journal(Path("/dev/null")), Journal(Path("/dev/null"))]
    for journal in journals:
        journal.open()
        journal.write(instruction())
    assert [journal.lines for journal in journals] == [1, 1]
    for journal in journals:
        journal.close()


def test_a_journal_that_is_moved_goes_on_in_a_new_file(tmp_path: Path) -> None:
    """Check that logrotate, or a person who deletes the file, makes no line vanish, and that the chain goes on."""
    path = tmp_path / "logs" / "gate.jsonl"
    journal = Journal(path)
    journal.open()
    journal.write(instruction(part_key="p1"))
    path.rename(tmp_path / "gate.1")
    journal.write(instruction(part_key="p2"))
    path.parent.rename(tmp_path / "moved")
    path.mkdir(parents=True)
    journal.write(instruction(part_key="lost"))
    path.rmdir()
    journal.write(instruction(part_key="p3"))
    journal.close()
    files = [(tmp_path / "gate.1"), (tmp_path / "moved" / "gate.jsonl"), path]
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    assert [json.loads(line)["part_key"] for line in lines] == ["p1", "p2", "p3"]
    assert list(check_lines(lines)) == []
    assert (journal.lines, journal.errors) == (3, 1)


def test_the_gate_does_not_wait_for_the_reader_of_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "gate.fifo"
    os.mkfifo(pipe)
    journal = Journal(pipe)
    with pytest.raises(SettingsError, match="no program reads this pipe"):
        journal.open()
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    journal.open()
    while not journal.errors:  # the reader stands still
        journal.write(instruction())
    kept, read = journal.lines, os.read(reader, 1024 * 1024)
    journal.write(instruction())
    journal.close()
    read += os.read(reader, 1024 * 1024)
    os.close(reader)
    assert (journal.errors, journal.lines) == (1, kept + 1)
    assert json.loads(read.splitlines()[-1])["part_key"] == instruction().part_key


def test_a_journal_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot write the journal"):
        SimulatedGate(tmp_path / "file" / "gate.jsonl").open()


@pytest.mark.parametrize("belt", [(0.0, 500.0), (400.0, 0.0), (400.0, -1.0), (float("nan"), 1.0)])
def test_a_belt_moves(belt: tuple[float, float]) -> None:
    with pytest.raises(SettingsError):
        Belt(*belt)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing", "no actuator 'nothing'; there are simulated"),
        ("no.such.module:Gate", "cannot be imported: ModuleNotFoundError"),
        ("json:NoSuch", "cannot be imported: AttributeError"),
        ("math:pi", "is not a class"),
        ("collections:OrderedDict", "has no open, act, close"),
        ("my gate:X", "no actuator"),
        ("fractions:Fraction", "has no open, act, close"),
    ],
)
def test_a_driver_that_cannot_be_used(name: str, says: str) -> None:
    with pytest.raises(PluginError, match=says) as caught:
        load_actuator(name)
    assert "\n" not in str(caught.value)


def test_a_driver_that_does_not_take_an_option() -> None:
    with pytest.raises(PluginError, match=r"option 'jurnal': this actuator takes journal.*; did you mean 'journal'"):
        load_actuator("simulated", {"jurnal": "17"})


def test_a_driver_from_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_gate.py").write_text(
        "class Gate:\n    def __init__(self, pin: int = 0, inverted: bool = False): self.given = (pin, inverted)\n"
        "    def open(self): ...\n    def close(self): ...\n    def act(self, instruction): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    built = load_actuator("my_own_gate:Gate", {"pin": "17", "inverted": "yes"})
    assert isinstance(built, Actuator)
    assert built.given == (17, True)  # type: ignore[attr-defined]
    with pytest.raises(PluginError, match="pin='x' is not of type int"):
        load_actuator("my_own_gate:Gate", {"pin": "x"})
