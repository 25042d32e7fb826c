"""The kit for drivers finds each broken rule, and passes every driver that ships."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from actuators import Actuator, GateRunner, GateSettings, Instruction, InstructionReason, LineStop, SimulatedGate
from actuators.testing import ListDecisions, RecordingActuator, check_actuator
from schemas import Action
from tests.support.gate_records import make_decision, make_frame, now_us
from transport.bounded_call import threads_left


class Plain:
    """Good driver without a stop of the line, to break."""

    def open(self) -> None: ...
    def act(self, instruction: Instruction) -> None: ...
    def close(self) -> None: ...


class NoClose:
    def open(self) -> None: ...
    def act(self, instruction: Instruction) -> None: ...


class OnlyStop(Plain):
    def stop_line(self, reason: str) -> None: ...


class OnlyRelease(Plain):
    def release_line(self) -> None: ...


class OpenFails(Plain):
    def open(self) -> None:
        raise OSError("no such\npin")


class NeedsDecision(Plain):
    def act(self, instruction: Instruction) -> None:
        print(instruction.decision.score)  # type: ignore[union-attr]  # noqa: T201


class NeedsScore(Plain):
    def act(self, instruction: Instruction) -> None:
        if instruction.decision is not None:
            round(instruction.decision.score)  # type: ignore[arg-type]


class KnowsTwoActions(Plain):
    def act(self, instruction: Instruction) -> None:
        {Action.ACCEPT: 0, Action.REJECT: 1}[instruction.action]


class KnowsFewReasons(Plain):
    def act(self, instruction: Instruction) -> None:
        assert instruction.reason in (InstructionReason.DECIDED, InstructionReason.FAILSAFE_MISSING), "unknown reason"


class AsciiOnly(Plain):
    def act(self, instruction: Instruction) -> None:
        instruction.part_key.encode("ascii")


class Slow(Plain):
    def act(self, instruction: Instruction) -> None:
        time.sleep(0.03)


class StopsSlowly(RecordingActuator):
    def stop_line(self, reason: str) -> None:
        time.sleep(0.03)


class ReleasesSlowly(RecordingActuator):
    def release_line(self) -> None:
        time.sleep(0.03)


class StopsAfterParts(RecordingActuator):
    def stop_line(self, reason: str) -> None:
        self.instructions[-1].action.lower()


class StopsOnce(RecordingActuator):
    def stop_line(self, reason: str) -> None:
        assert self.line_calls[-1:] != ["stop_line"], "stopped already"
        super().stop_line(reason)


class RefusesParts(RecordingActuator):
    def act(self, instruction: Instruction) -> None:
        assert self.line_calls[-1:] != ["stop_line"], "the line stands"


class ReleaseFails(RecordingActuator):
    def release_line(self) -> None:
        raise OSError("relay")


class CloseNeedsOpen(Plain):
    def open(self) -> None:
        self.port = socket.socket()

    def close(self) -> None:
        self.port.close()


class ClosesOnce(Plain):
    port: Any = None

    def open(self) -> None:
        self.port = socket.socket()

    def close(self) -> None:
        if self.port is not None:
            if self.port.fileno() < 0:
                raise ValueError("closed already")
            self.port.close()


class Busy(Plain):
    is_open = False

    def open(self) -> None:
        if Busy.is_open:
            raise OSError("port is busy")
        Busy.is_open = True


class OneThread(Plain):
    """Its handle belongs to the thread that opened it."""

    def open(self) -> None:
        self.log: sqlite3.Connection | None = sqlite3.connect(":memory:")

    def act(self, instruction: Instruction) -> None:
        assert self.log is not None
        self.log.execute("select 1")

    def close(self) -> None: ...


class LeavesThread(Plain):
    def open(self) -> None:
        threading.Thread(target=time.sleep, args=(10,), name="valve", daemon=True).start()


class Hangs(Plain):
    def act(self, instruction: Instruction) -> None:
        time.sleep(10)


class CloseHangs(Plain):
    def close(self) -> None:
        time.sleep(10)


def same() -> Callable[[], Actuator]:
    driver = Plain()
    return lambda: driver


def no_pin() -> Actuator:
    raise ValueError("no pin")


BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "1 same driver": (same(), r"make\(\) returned the same driver again; expected a new driver"),
    "1 make raises": (no_pin, r"no_pin: make\(\) raised ValueError: no pin; expected no error"),
    "1 nothing": (dict, "dict: it has no open, act, close; expected the methods open, act and close"),
    "1 no close": (NoClose, "NoClose: it has no close"),
    "1 only stop": (OnlyStop, "it has stop_line alone, so no gate calls it; expected both"),
    "1 only release": (OnlyRelease, "it has release_line alone"),
    "2 open fails": (OpenFails, r"OpenFails: open\(\) raised OSError: no such pin; expected no error"),
    "2 needs decision": (NeedsDecision, r"act\(\) raised AttributeError: .* on REJECT, \S+, without a decision"),
    "2 needs score": (NeedsScore, r"act\(\) raised TypeError: .* on REJECT, decided, with a decision"),
    "2 two actions": (KnowsTwoActions, r"act\(\) raised KeyError: .* on REVIEW, decided"),
    "2 few reasons": (KnowsFewReasons, r"act\(\) raised AssertionError: unknown reason.* on REVIEW, drift-review"),
    "2 ASCII": (AsciiOnly, r"act\(\) raised UnicodeEncodeError"),
    "2 one thread": (OneThread, r"act\(\) raised ProgrammingError: .*thread"),
    "3 slow": (Slow, r"Slow: act\(\) takes \d+\.\d ms; expected at most 5 ms: let slow hardware"),
    "3 stops slowly": (StopsSlowly, r"stop_line\(\) takes \d+\.\d ms; expected at most 5 ms"),
    "3 releases slowly": (ReleasesSlowly, r"release_line\(\) takes \d+\.\d ms"),
    "4 stops after parts": (StopsAfterParts, r"stop_line\(\) raised IndexError"),
    "4 stops once": (StopsOnce, r"stop_line\(\) again raised AssertionError: stopped already"),
    "4 refuses parts": (RefusesParts, r"act\(\) raised AssertionError: the line stands.* on REJECT, failsafe-fault"),
    "4 release fails": (ReleaseFails, r"release_line\(\) raised OSError: relay"),
    "5 close needs open": (CloseNeedsOpen, r"close\(\) without open\(\) raised AttributeError"),
    "5 closes once": (ClosesOnce, r"the second close\(\) raised ValueError: closed already"),
    "5 busy": (Busy, r"open\(\) raised OSError: port is busy"),
    "6 thread": (LeavesThread, r"the thread 'valve' still runs 2 s after close\(\); expected close\(\) to end"),
    "hangs": (Hangs, r"Hangs: act\(\) does not return; expected the whole check to end within 1 s"),
    "close hangs": (CloseHangs, r"CloseHangs: close\(\) without open\(\) does not return"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_drivers_fail(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = BROKEN[name]
    with pytest.raises(AssertionError, match=message) as caught:
        check_actuator(make, timeout_s=1 if "hangs" in name else 30)
    assert "\n" not in str(caught.value)


def test_a_driver_is_closed_when_a_rule_is_broken() -> None:
    made: list[RecordingActuator] = []

    def make() -> RecordingActuator:
        made.append(RecordingActuator())
        made[-1].error = OSError("valve stuck")
        return made[-1]

    with pytest.raises(AssertionError, match="valve stuck"):
        check_actuator(make)
    assert [len(driver.instructions) for driver in made] == [0, 1]
    assert not made[-1].is_open


def test_a_check_that_took_too_long_stops_when_its_call_returns() -> None:
    made: list[Actuator] = []

    class Slow(Plain):
        def __init__(self) -> None:
            made.append(self)

        def close(self) -> None:
            time.sleep(0.5)

    before = set(threading.enumerate())
    with pytest.raises(AssertionError, match=r"close\(\) without open\(\) does not return"):
        check_actuator(Slow, timeout_s=0.2)
    assert threads_left(before, 5) == []
    assert len(made) == 1


class Threaded(Plain):
    """Good driver whose slow hardware works on a thread of its own."""

    _worker: threading.Thread | None = None

    def open(self) -> None:
        self._stop = threading.Event()
        self._worker = threading.Thread(target=self._stop.wait)
        self._worker.start()

    def close(self) -> None:
        if self._worker is not None:
            self._stop.set()


@pytest.mark.parametrize("make", [Plain, RecordingActuator, SimulatedGate, Threaded])
def test_whole_drivers_pass(make: Callable[[], Actuator]) -> None:
    check_actuator(make)


def test_a_slow_driver_passes_if_its_author_allows_it() -> None:
    check_actuator(Slow, act_ms=200)


def test_every_reason_is_tried() -> None:
    tried: list[Instruction] = []

    class Collector(Plain):
        def act(self, instruction: Instruction) -> None:
            tried.append(instruction)

    check_actuator(Collector)
    assert {instruction.reason for instruction in tried} == set(InstructionReason)
    assert {instruction.action for instruction in tried} == set(Action)


def test_the_doubles_run_a_gate() -> None:
    gate_driver, decisions = RecordingActuator(), ListDecisions()
    assert isinstance(gate_driver, LineStop)
    gate = GateRunner(decisions, gate_driver, GateSettings(belt_ms=60, fault_after=2))
    gate.start()
    captured = now_us()
    gate.expect_frame(make_frame("good", captured_at_us=captured))
    decisions.waiting.append(make_decision("good", captured_at_us=captured))
    for part in ("unknown", "unknown as well"):
        gate.expect_frame(make_frame(part, captured_at_us=now_us()))
    gate.stop()
    assert [instruction.action for instruction in gate_driver.instructions] == [Action.ACCEPT] + [Action.REJECT] * 2
    assert gate_driver.line_calls == ["stop_line"]
    assert "2 parts" in gate_driver.stop_reasons[0]
    assert (gate_driver.is_open, decisions.ready) == (False, False)
