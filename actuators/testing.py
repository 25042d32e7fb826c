"""Testing kit for gates: a driver that records, decisions from a list, and the contract that every driver keeps.

The kit raises `AssertionError` and needs no test framework::

    def test_my_gate() -> None:
        check_actuator(MyGate)
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from statistics import median

from actuators.actuator import Actuator, Instruction, InstructionReason, LineStop
from actuators.counts import ConsumerCounts
from schemas.clock import Clock, SystemClock
from schemas.records import Action, Decision, ResultState, Verdict
from transport.bounded_call import call_in_thread, threads_left
from transport.contract_check import ContractCheck

__all__ = ["ListDecisions", "RecordingActuator", "check_actuator"]

#: Time for the threads of a driver to end after `close`.
_END_S = 2.0
#: Further measurements of a call that was slow.
_REPEATS = 5
#: Reasons of instructions that carry a decision.
_WITH_DECISION = {InstructionReason.DECIDED, InstructionReason.DRIFT_REVIEW, InstructionReason.CONFLICT}
_VERDICTS = {Action.ACCEPT: Verdict.OK, Action.REJECT: Verdict.NOT_OK, Action.REVIEW: Verdict.NOT_DECIDABLE}


class RecordingActuator:
    """Driver that records each call, and can stop the line.

    Parameters
    ----------
    clock
        Clock of the gate, for ``acted_at_s``.

    Examples
    --------
    >>> gate = RecordingActuator()
    >>> gate.open(); gate.stop_line("no decisions"); gate.close()
    >>> gate.line_calls, gate.is_open
    (['stop_line'], False)
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        #: Instructions, in order, and the time of each on the monotonic clock.
        self.instructions: list[Instruction] = []
        self.acted_at_s: list[float] = []
        #: Calls of `stop_line` and `release_line`, in order, and the reasons of the stops.
        self.line_calls: list[str] = []
        self.stop_reasons: list[str] = []
        self.is_open = False
        #: Error that each later `act` raises after it has recorded its instruction; None: it works.
        self.error: Exception | None = None

    def open(self) -> None:
        """Record that the driver is open."""
        self.is_open = True

    def act(self, instruction: Instruction) -> None:
        """Record the instruction. If a test has set ``error``, raise it afterwards."""
        self.acted_at_s.append(self._clock.monotonic_s())
        self.instructions.append(instruction)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Record that the driver is closed."""
        self.is_open = False

    def stop_line(self, reason: str) -> None:
        """Record the call."""
        self.line_calls.append("stop_line")
        self.stop_reasons.append(reason)

    def release_line(self) -> None:
        """Record the call."""
        self.line_calls.append("release_line")


class ListDecisions:
    """Source of decisions for a `GateRunner` without Kafka.

    Parameters
    ----------
    decisions
        Decisions to return, in order; a test may append more to ``waiting``.
    waits
        True: `poll` waits for its time if there is no decision, as a consumer does. False: it returns at once.

    Examples
    --------
    A gate without Kafka and without hardware: no decision comes, so the part gets the fail-safe.

    >>> from actuators import GateRunner, GateSettings
    >>> driver, decisions = RecordingActuator(), ListDecisions()
    >>> gate = GateRunner(decisions, driver, GateSettings(belt_ms=50))
    >>> gate.start()
    >>> gate.expect("part-1", station="press", camera_id="top", captured_at_us=time.time_ns() // 1000)
    True
    >>> gate.stop()
    >>> [f"{each.action} {each.part_key}, {each.reason}" for each in driver.instructions]
    ['REJECT part-1, failsafe-missing']
    """

    def __init__(self, decisions: Iterable[Decision] = (), *, waits: bool = True) -> None:
        self.waiting = deque(decisions)
        self._waits = waits
        self.ready = False
        self.connected = True
        self.contact_age_s: float | None = 0.0
        self.counts = ConsumerCounts()
        #: Error that each later `poll` raises; None: it works.
        self.error: Exception | None = None

    def open(self) -> None:
        """Become ready."""
        self.ready = True

    def poll(self, timeout_s: float) -> Decision | None:
        """Return the next decision; None if no decision is left. If a test has set ``error``, raise it instead."""
        if self.error is not None:
            raise self.error
        if self.waiting:
            return self.waiting.popleft()
        if self._waits:
            time.sleep(timeout_s)
        return None

    def close(self) -> None:
        """Stop being ready."""
        self.ready = False


def check_actuator(make: Callable[[], Actuator], *, act_ms: float = 5.0, timeout_s: float = 30.0) -> None:
    """Check that a driver keeps the contract of `actuators.actuator`.

    The check runs drivers as a gate does, one after the other: it opens each in one thread, and calls the other methods
    in a second thread. **The driver acts**: run the check where nothing can be hit. These are the rules:

    1. ``make`` returns a new driver each time. A driver has `open`, `act` and `close`. It has both `stop_line` and
       `release_line`, or neither.
    2. It accepts each instruction that a gate gives: each action and reason, with a decision and without.
    3. `act`, `stop_line` and `release_line` return within ``act_ms``.
    4. `stop_line` may come right after `open`, and again with another reason. Parts still come while the line stands.
    5. `close` may be called again, and without `open`. It releases the hardware: another driver can open it.
    6. The threads of a driver end within two seconds after `close`.

    No check can see that **the idle position of the hardware is the safe one**: look at it with the power off.

    Parameters
    ----------
    make
        Function without parameters that returns a driver, such as its class. The driver must not be open.
    act_ms
        Longest time of a call, in milliseconds: of the median for `act`, of the quickest for the line. A driver for
        a real line takes 1 or 2; the default allows for a busy machine.
    timeout_s
        Longest time for the whole check, in seconds.

    Raises
    ------
    AssertionError
        If the driver breaks a rule. The message states the fault, and what is expected.

    Examples
    --------
    >>> check_actuator(RecordingActuator)
    >>> class Lamp:
    ...     def open(self) -> None: ...
    ...     def act(self, instruction: Instruction) -> None: ...
    >>> check_actuator(Lamp)
    Traceback (most recent call last):
    ...
    AssertionError: Lamp: it has no close; expected the methods open, act and close
    """
    _Check(make, act_ms, timeout_s).run()


class _Check(ContractCheck[Actuator]):
    """One run of the contract."""

    def __init__(self, make: Callable[[], Actuator], act_ms: float, timeout_s: float) -> None:
        super().__init__(make, "driver", timeout_s)
        self._act_ms = act_ms

    def _check(self) -> None:
        unopened = self._new()
        self._close(unopened, "close() without open()")
        for stage in (self._belt, self._fault):
            before = set(threading.enumerate())
            actuator = self._new()
            with self._at("open()"):
                actuator.open()
            # A gate opens its driver in the thread that starts it; a handle may belong to that thread.
            call_in_thread(partial(self._stage, actuator, stage), self._timeout_s, "gate")
            if left := threads_left(before, _END_S):
                self._fail(
                    f"the thread {left[0]!r} still runs {_END_S:g} s after close()", "close() to end its threads"
                )

    def _stage(self, actuator: Actuator, stage: Callable[[Actuator], None]) -> None:
        try:
            stage(actuator)
        except BaseException:
            # The fault is found; the hardware goes to its safe position, as a gate sees to it.
            with suppress(Exception):
                actuator.close()
            raise
        self._close(actuator, "close()")
        self._close(actuator, "the second close()")

    def _belt(self, actuator: Actuator) -> None:
        self._quick("act()", median([self._act(actuator, each) for each in _instructions()]))
        if isinstance(actuator, LineStop):
            self._line(actuator, "10 parts in a row without a usable decision")

    def _fault(self, actuator: Actuator) -> None:
        """Take the calls of a gate that starts in FAULT."""
        if isinstance(actuator, LineStop):
            self._line(
                actuator,
                "the drift episode e-1 is open: 100 % of 20 parts \N{GREATER-THAN OR EQUAL TO} 1.5",
                again=True,
            )
        self._act(actuator, _instruction(Action.ACCEPT, InstructionReason.DECIDED))

    def _line(self, actuator: LineStop, reason: str, *, again: bool = False) -> None:
        stopped = [self._timed("stop_line()", lambda: actuator.stop_line(reason))]
        if isinstance(actuator, Actuator):
            self._act(actuator, _instruction(Action.REJECT, InstructionReason.FAILSAFE_FAULT))
        if again:
            stopped.append(self._timed("stop_line() again", lambda: actuator.stop_line("another reason")))
        released = [self._timed("release_line()", actuator.release_line)]
        # A busy machine makes single calls slow: a slow driver is slow each time.
        for _ in range(_REPEATS):
            if max(min(stopped), min(released)) <= self._act_ms:
                break
            stopped.append(self._timed("stop_line()", lambda: actuator.stop_line(reason)))
            released.append(self._timed("release_line()", actuator.release_line))
        self._quick("stop_line()", min(stopped))
        self._quick("release_line()", min(released))

    def _new(self) -> Actuator:
        actuator = super()._new()
        has = {
            name
            for name in ("open", "act", "close", "stop_line", "release_line")
            if callable(getattr(actuator, name, None))
        }
        if lacks := [name for name in ("open", "act", "close") if name not in has]:
            self._fail(f"it has no {', '.join(lacks)}", "the methods open, act and close")
        line = has & {"stop_line", "release_line"}
        if len(line) == 1:
            self._fail(f"it has {line.pop()} alone, so no gate calls it", "both stop_line and release_line, or neither")
        return actuator

    def _act(self, actuator: Actuator, instruction: Instruction) -> float:
        decision = "without a decision" if instruction.decision is None else "with a decision"
        about = f" on {instruction.action}, {instruction.reason}, {decision}"
        return self._timed("act()", lambda: actuator.act(instruction), about)

    def _timed(self, step: str, call: Callable[[], object], about: str = "") -> float:
        """Call a method and return the time that it took, in milliseconds."""
        began_s = time.perf_counter()
        with self._at(step, about):
            call()
        return (time.perf_counter() - began_s) * 1e3

    def _quick(self, step: str, took_ms: float) -> None:
        if took_ms > self._act_ms:
            self._fail(
                f"{step} takes {took_ms:.1f} ms",
                f"at most {self._act_ms:g} ms: let slow hardware work on a thread of its own",
            )

    def _close(self, actuator: Actuator, step: str) -> None:
        with self._at(step):
            actuator.close()


def _instructions() -> Iterator[Instruction]:
    """Yield one instruction of each kind that a gate gives."""
    for action in Action:
        yield _instruction(action, InstructionReason.DECIDED)
    # The model failed on this part: its decision has no score.
    yield _instruction(Action.REJECT, InstructionReason.DECIDED, score=None)
    yield _instruction(Action.REVIEW, InstructionReason.DRIFT_REVIEW, episode_id="episode-1")
    yield _instruction(Action.REJECT, InstructionReason.CONFLICT)
    for reason in InstructionReason:
        if reason not in _WITH_DECISION:
            yield _instruction(Action.REJECT, reason)
            yield _instruction(Action.REVIEW, reason, part_key="Teil 7/\N{LATIN SMALL LETTER E WITH ACUTE}")


def _instruction(
    action: Action, reason: InstructionReason, *, score: float | None = 0.25, part_key: str = "part-1", **fields: str
) -> Instruction:
    now_us = time.time_ns() // 1000
    decision = None
    if reason in _WITH_DECISION:
        decision = Decision(
            decision_id="decision-1", frame_id="frame-1", line="line", station="station", camera_id="camera",
            started_at_us=now_us, sequence=1, image_sha256="", verdict=_VERDICTS[action], action=action,
            result_state=ResultState.FAILED if score is None else ResultState.COMPLETED, reason="a check of the driver",
            model_name="model", model_version="1", model_sha256="", recipe_id="recipe", recipe_revision="1",
            captured_at_us=now_us, received_at_us=now_us, decided_at_us=now_us, source_topic="frames",
            source_partition=0, source_offset=0, part_id=part_key, score=score,
        )  # fmt: skip
    return Instruction(
        part_key=part_key, station="station", camera_id="camera", action=action, reason=reason, captured_at_us=now_us,
        act_at_us=now_us, act_at_s=time.monotonic(), decision=decision,
        armed_at_us=None if decision is None else now_us, **fields,
    )  # fmt: skip
