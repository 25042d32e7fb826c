"""Consumer, tracker and actuator as one running gate."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from actuators.actuator import Actuator, Instruction
from actuators.counts import GateStats
from actuators.errors import GateError
from actuators.schedule import schedule
from actuators.settings import GateSettings
from actuators.source import DecisionSource
from actuators.tracker import Outcome, PartTracker
from schemas.clock import Clock, SystemClock
from schemas.records import Decision, Frame

log = logging.getLogger(__name__)

#: Longest wait for a decision before the belt is looked at, in seconds: how late an act can be through waiting.
_POLL_S = 0.005
#: confluent-kafka rounds a wait down to whole milliseconds; a shorter one sleeps instead of spinning.
_SHORTEST_POLL_S = 0.001
#: Latencies kept, newest last: about an hour at 30 parts a second.
_LATENCIES = 100_000


class GateRunner:
    """A gate at work: `start`, then `expect` every part, then `stop`.

    One thread waits for decisions and for the belt; an act is late by 5 ms at most, as far as the machine lets it.

    Parameters
    ----------
    consumer, actuator
        Opened by `start`, closed by `stop`.
    on_action
        Called after each act with the instruction and the decision behind it (None: fail-safe), on the gate's
        thread: be quick.
    on_fault
        Called with the number of fail-safes in a row when it reaches ``settings.fault_after``.

    Examples
    --------
    ::

        gate = GateRunner(DecisionConsumer(kafka), MyActuator(), GateSettings(belt_ms=650, decide_by_ms=500))
        gate.start()                # returns once every later decision will be seen: now start the cameras
        light_barrier.on_part = lambda serial: gate.expect(
            serial, station="press-1", camera_id="top", captured_at_us=time.time_ns() // 1000)
        ...
        gate.stop()                 # waits for the parts on the belt
    """

    def __init__(
        self,
        consumer: DecisionSource,
        actuator: Actuator,
        settings: GateSettings | None = None,
        *,
        on_action: Callable[[Instruction, Decision | None], None] | None = None,
        on_fault: Callable[[int], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings or GateSettings()
        self._clock = clock or SystemClock()
        self._consumer = consumer
        self._actuator = actuator
        self._on_action = on_action
        self._on_fault = on_fault
        self._tracker = PartTracker(self._clock, failsafe=self.settings.failsafe)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._latencies_ms: deque[float] = deque(maxlen=_LATENCIES)
        self._act_errors = 0
        self._failsafes_in_a_row = 0
        self._error: BaseException | None = None

    def start(self) -> None:
        """Open consumer and actuator and begin; when it returns, no later decision is missed.

        Raises
        ------
        InspectionError
            From opening either; nothing is left open.
        """
        self._consumer.open()
        try:
            self._actuator.open()
        except BaseException:
            self._consumer.close()
            raise
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        self._thread.start()

    def expect(
        self, part_key: str, *, station: str, camera_id: str, captured_at_us: int, deadline_ms: float | None = None
    ) -> bool:
        """Tell the gate of a part that was captured, at once; from any thread. False if it is known already.

        Parameters
        ----------
        captured_at_us
            UTC microseconds of the capture.
        deadline_ms
            Counts if the settings name no ``decide_by_ms``.

        Raises
        ------
        GateError
            If the gate does not run, or (`GateFull`) has no room.
        """
        decide_by_ms = self.settings.decide_by_ms if self.settings.decide_by_ms is not None else deadline_ms
        part = schedule(
            self._clock,
            part_key=part_key,
            station=station,
            camera_id=camera_id,
            captured_at_us=captured_at_us,
            belt_ms=self.settings.belt_ms,
            decide_by_ms=decide_by_ms,
        )
        with self._lock:
            if self._closing or not self.is_running:
                raise GateError("the gate does not run: the part passes it unseen")
            return self._tracker.expect(part)

    def expect_frame(self, frame: Frame) -> bool:
        """`expect` the part that a frame shows."""
        return self.expect(
            frame.part_id if frame.part_id is not None else frame.frame_id,
            station=frame.station,
            camera_id=frame.camera_id,
            captured_at_us=frame.captured_at_us,
            deadline_ms=frame.deadline_ms,
        )

    def stop(self) -> None:
        """Take no more parts, act on those on the belt at their time, close everything; may be called again.

        Raises
        ------
        GateError
            If the gate's thread had died.
        """
        with self._lock:
            self._closing = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise GateError(f"the gate stopped: {type(error).__name__}: {error}") from error

    @property
    def is_running(self) -> bool:
        """Whether the gate's thread lives."""
        return self._thread is not None and self._thread.is_alive() and self._error is None

    @property
    def ready(self) -> bool:
        """Whether every decision made from now on will be seen."""
        return self.is_running and self._consumer.ready

    @property
    def stats(self) -> GateStats:
        """What has happened so far."""
        with self._lock:
            return GateStats(
                self._tracker.counts,
                self._consumer.counts,
                self._act_errors,
                self._tracker.pending,
                self._consumer.connected,
            )

    @property
    def latencies_ms(self) -> list[float]:
        """Capture to the moment the gate held the decision, of each armed part; the last 100,000."""
        with self._lock:
            return list(self._latencies_ms)

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except Exception as error:
            log.exception("the gate stops")
            self._error = error
        finally:
            # The actuator first: whatever else fails, its safe position is taken.
            try:
                self._actuator.close()
            except Exception:
                log.exception("the actuator cannot be closed")
            self._consumer.close()

    def _turn(self) -> bool:
        """Act on what is at the gate, then wait for a decision or the next arrival; False when all is done."""
        with self._lock:
            instructions = self._tracker.due(self._clock.monotonic_s())
        for instruction in instructions:
            self._act(instruction)
        with self._lock:
            next_due_s = self._tracker.next_due_s
            if self._closing and next_due_s is None:
                return False
        wait_s = _POLL_S if next_due_s is None else min(_POLL_S, next_due_s - self._clock.monotonic_s())
        if 0 < wait_s < _SHORTEST_POLL_S:
            time.sleep(wait_s)
            wait_s = 0.0
        decision = self._consumer.poll(max(wait_s, 0.0))
        if decision is not None:
            with self._lock:
                outcome = self._tracker.offer(decision)
            if outcome is not Outcome.ARMED:
                log.debug("decision %s of part %s: %s", decision.decision_id, decision.part_key, outcome)
        return True

    def _act(self, instruction: Instruction) -> None:
        try:
            self._actuator.act(instruction)
        except Exception:
            # A driver may raise anything; the other parts on the belt still need their answer.
            self._act_errors += 1
            log.exception("the actuator failed on part %s (%s)", instruction.part_key, instruction.action)
        if instruction.armed_at_us is not None:
            with self._lock:
                self._latencies_ms.append((instruction.armed_at_us - instruction.captured_at_us) / 1e3)
        self._failsafes_in_a_row = self._failsafes_in_a_row + 1 if instruction.is_failsafe else 0
        try:
            if self._on_action is not None:
                self._on_action(instruction, instruction.decision)
            if self._failsafes_in_a_row == self.settings.fault_after > 0:
                log.error("%d fail-safe actions in a row", self._failsafes_in_a_row)
                if self._on_fault is not None:
                    self._on_fault(self._failsafes_in_a_row)
        except Exception:
            # The caller's code: the belt does not wait for it to be repaired.
            log.exception("a callback failed on part %s", instruction.part_key)
