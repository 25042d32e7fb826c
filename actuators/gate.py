"""Consumer, tracker and actuator combined into a running gate."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from actuators.acted_log import ActedLog
from actuators.actuator import Actuator, Instruction
from actuators.belt import BeltWatch
from actuators.counts import GateStats
from actuators.decision_source import DecisionSource
from actuators.drift_policy import DriftPolicy
from actuators.drift_watch import DriftSource
from actuators.errors import GateError
from actuators.fault import FaultLatch
from actuators.fault_store import FaultStore
from actuators.heartbeat import Heartbeat
from actuators.lateness import LatenessCounts
from actuators.line_stop import LineStopper
from actuators.schedule import schedule
from actuators.settings import GateSettings
from actuators.staleness import CaptureAgeEstimator
from actuators.tracker import OfferResult, PartTracker
from actuators.unreadable import Readability
from schemas.clock import Clock, SystemClock
from schemas.records import Decision, Frame

log = logging.getLogger(__name__)

#: Longest wait for a decision before the next check of the belt, in seconds: waiting delays an act by no more.
_POLL_S = 0.005
#: confluent-kafka rounds a wait down to whole milliseconds; a shorter one sleeps instead of spinning.
_SHORTEST_POLL_S = 0.001
#: Most latencies kept, newest last: those of about an hour at 30 parts a second.
_LATENCIES = 100_000


class GateRunner:
    """Gate at work: `start`, then `expect` every part, then `stop`.

    One thread waits for decisions and for the belt. An act is late by 5 ms at most, as far as the machine permits it.

    Parameters
    ----------
    consumer, actuator
        Opened by `start`, closed by `stop`.
    on_action
        Called after each act with the instruction and its decision (None for a fail-safe), on the gate's thread: return
        quickly.
    on_fault
        Called when the gate goes into FAULT, with the number of parts in a row that led to it; 0 if drift did.
    state_dir
        Directory for the state that survives the process: a FAULT, and the parts that were acted on. None: a restart
        forgets both. It may be the directory of the consumer; only one gate may use it.
    drift
        Source of drift episodes, such as a `DriftWatch`; opened and closed like the consumer. Required if ``on_drift``
        of the settings is not NOTHING, unused otherwise.

    Examples
    --------
    ::

        gate = GateRunner(DecisionConsumer(kafka), MyActuator(), GateSettings(belt_ms=650, decide_by_ms=500))
        gate.start()                # returns when no later decision will be missed: now start the cameras
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
        state_dir: str | Path | None = None,
        drift: DriftSource | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings or GateSettings()
        self._clock = clock or SystemClock()
        self._consumer = consumer
        self._actuator = actuator
        self._on_action = on_action
        self._lock = threading.Lock()
        self._latch = FaultLatch(self.settings.fault_after, self._clock)
        self._drift = DriftPolicy(self.settings.on_drift, drift)
        self._tracker = PartTracker(
            self._clock,
            failsafe=self.settings.failsafe,
            latch=self._latch,
            diverts=self._drift.diverts,
            simulated=self.settings.simulated,
            no_part_ids=self.settings.no_part_ids,
            max_lateness_s=self.settings.max_lateness_ms / 1e3 or math.inf,
        )
        directory = None if state_dir is None else Path(state_dir)
        gap_s = self.settings.max_lateness_ms / 1e3
        self._belt = BeltWatch(self._tracker, self._lock, self._clock, directory, gap_s=gap_s)
        self._readability = Readability(self.settings.fault_after, self._clock)
        store = None if state_dir is None else FaultStore(Path(state_dir))
        self._line = LineStopper(actuator, self._latch, self._lock, store, self._clock, on_fault)
        self._acted = None if state_dir is None else ActedLog(Path(state_dir))
        decide_by_ms = self.settings.belt_ms if self.settings.decide_by_ms is None else self.settings.decide_by_ms
        self._heartbeat = Heartbeat(self.settings.heartbeat_ms, decide_by_ms, self._clock)
        self._age = CaptureAgeEstimator(self.settings.belt_ms / 1e3, self._clock)
        self._lateness = LatenessCounts()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._latencies_ms: deque[float] = deque(maxlen=_LATENCIES)
        self._act_errors = 0
        self._error: BaseException | None = None

    def start(self) -> None:
        """Open state, consumer and actuator, and start the gate; afterwards it misses no later decision.

        Raises
        ------
        InspectionError
            If one of them cannot be opened; all are closed again.
        """
        is_actuator_open = False
        try:
            self._line.open()
            if self._acted is not None:
                for key, captured_at_us in self._acted.open():
                    self._tracker.recall(*key, captured_at_us)
            # Before the first part: a gate that starts again knows what drifts. This waits for a while, never raises.
            self._drift.open()
            self._consumer.open()
            is_actuator_open = True  # also if it fails: its outputs may be on by then
            self._actuator.open()
        except BaseException:
            self._close_all(is_actuator_open=is_actuator_open)
            raise
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        self._thread.start()

    def expect(
        self,
        part_key: str,
        *,
        station: str,
        camera_id: str,
        captured_at_us: int,
        deadline_ms: float | None = None,
        frame_id: str | None = None,
    ) -> bool:
        """Announce a captured part to the gate at once; return False if the part is already known. Thread-safe.

        A part with the same name on the belt is the same part. Another frame of it, another camera of the station, or,
        without a frame id, a capture more than 5 ms apart, is a second view: then the part is not accepted.

        Parameters
        ----------
        captured_at_us
            UTC microseconds of the capture.
        deadline_ms
            Used if the settings have no ``decide_by_ms``.
        frame_id
            Frame that shows the part, if known.

        Raises
        ------
        GateError
            If the gate does not run, or (`GateFull`) has no room for the part.
        """
        decide_by_ms = self.settings.decide_by_ms if self.settings.decide_by_ms is not None else deadline_ms
        with self._lock:
            if self._closing or not self.is_running:
                raise GateError("the gate does not run: the part passes it unseen")
            part = schedule(
                self._clock,
                part_key=part_key,
                station=station,
                camera_id=camera_id,
                captured_at_us=captured_at_us,
                belt_ms=self.settings.belt_ms,
                decide_by_ms=decide_by_ms,
                age_s=0.0 if self.settings.simulated else self._age.age_s(captured_at_us),
                frame_id=frame_id,
            )
            is_new = self._tracker.expect(part)
            if is_new:
                self._heartbeat.part_expected()
            return is_new

    def expect_frame(self, frame: Frame) -> bool:
        """Announce the part that a frame shows, see `expect`."""
        return self.expect(
            frame.part_id if frame.part_id is not None else frame.frame_id,
            station=frame.station,
            camera_id=frame.camera_id,
            captured_at_us=frame.captured_at_us,
            deadline_ms=frame.deadline_ms,
            frame_id=frame.frame_id,
        )

    def belt_stopped(self) -> None:
        """Report that the belt is stopped: no part arrives until `belt_moving`. Thread-safe.

        The schedule assumes a constant speed of the belt. Parts that are on the belt, or are triggered while it is
        stopped, get the fail-safe (``belt-stopped``) when they arrive, because their position is no longer certain.
        Another process reports the same with `inspection gate suspend`.
        """
        self._belt.stop()

    def belt_moving(self) -> None:
        """Report that the belt moves again: parts on it arrive later by the time that it was stopped. Thread-safe."""
        self._belt.move()

    def note_trigger(self, is_readable: bool) -> None:
        """Record a message of the topic that carries the triggers. Thread-safe.

        If ``fault_after`` messages in a row cannot be read, for two seconds at least, parts pass unseen: FAULT.
        """
        self._readability.triggers.count(is_readable=is_readable)

    def reset(self, who: str, note: str) -> bool:
        """End a FAULT on behalf of a person who has looked: decisions apply again. Thread-safe.

        Parameters
        ----------
        who, note
            Person who resets the fault, and what the person found; both are kept with the fault.

        Returns
        -------
        bool
            False if there was no fault.

        Raises
        ------
        GateError
            If the gate does not run: use `inspection gate reset` then.
        SettingsError
            If name or note is empty, or the reset cannot be put on file; the FAULT stays.
        """
        if not self.is_running:
            raise GateError("the gate does not run; reset it with `inspection gate reset`")
        return self._line.reset(who, note)

    def stop(self) -> None:
        """Accept no more parts, act on the parts on the belt at their time, then close everything. Idempotent.

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
        """True if the gate's thread is alive."""
        return self._thread is not None and self._thread.is_alive() and self._error is None

    @property
    def ready(self) -> bool:
        """True if the gate will see every decision that is made from now on."""
        return self.is_running and self._consumer.ready

    @property
    def stats(self) -> GateStats:
        """Counts and state since the start."""
        with self._lock:
            return GateStats(
                self._tracker.counts,
                self._consumer.counts,
                self._act_errors + self._line.errors,
                self._tracker.pending,
                self._consumer.connected,
                self._latch.fault,
                self._latch.times,
                self._heartbeat.degraded,
                self._heartbeat.times,
                self._lateness.snapshot(),
                0 if self._acted is None else self._acted.errors,
                self._drift.stats,
                self._tracker.arrivals.is_stopped,
                self._belt.gaps,
            )

    @property
    def latencies_ms(self) -> list[float]:
        """Time from the capture to the receipt of the decision, in ms, for the last 100,000 armed parts."""
        with self._lock:
            return list(self._latencies_ms)

    def _run(self) -> None:
        try:
            while self._run_once():
                pass
        except Exception as error:
            log.exception("the gate stops")
            self._error = error
        finally:
            self._close_all(is_actuator_open=True)

    def _close_all(self, *, is_actuator_open: bool) -> None:
        # The actuator first: it takes its safe position even if other parts fail to close. So do the others.
        parts = {
            "actuator": self._actuator.close if is_actuator_open else None,
            "record of acts": None if self._acted is None else self._acted.close,
            "consumer": self._consumer.close,
            "state": self._line.close,
            "drift watch": self._drift.close,
        }
        for name, close in parts.items():
            try:
                if close is not None:
                    close()
            except Exception:
                log.exception("the %s cannot be closed", name)

    def _run_once(self) -> bool:
        """Act on the parts at the gate, then wait for a decision or the next arrival; return False when all is done."""
        with self._lock:
            self._belt.check()
            if self._closing:
                self._belt.end()
            self._drift.stop(self._latch, self._clock)
            self._readability.stop(self._latch)
        # One part after the other: while the driver is slow, the next one passes, or the belt is stopped.
        arrived_s = self._clock.monotonic_s()
        while (instruction := self._take_due(arrived_s)) is not None:
            self._act(instruction)
        self._line.update()
        with self._lock:
            self._heartbeat.check(self._consumer.contact_age_s)
            self._age.update()
            next_due_s = self._tracker.next_due_s
            if self._closing and next_due_s is None:
                return False
        wait_s = _POLL_S if next_due_s is None else min(_POLL_S, next_due_s - self._clock.monotonic_s())
        if 0 < wait_s < _SHORTEST_POLL_S:
            time.sleep(wait_s)
            wait_s = 0.0
        decision = self._consumer.poll(max(wait_s, 0.0))
        self._readability.check(self._consumer.counts)
        if decision is not None:
            with self._lock:
                usable = self._tracker.usable_decisions
                outcome = self._tracker.offer(decision)
                # A decision on a frame of another camera says nothing about the parts that pass.
                if self._tracker.usable_decisions > usable:
                    self._heartbeat.decision_received()
            if outcome is not OfferResult.ARMED:
                log.debug("decision %s of part %s: %s", decision.decision_id, decision.part_key, outcome)
        return True

    def _take_due(self, arrived_s: float) -> Instruction | None:
        with self._lock:
            return self._tracker.take_due(arrived_s)

    def _act(self, instruction: Instruction) -> None:
        # 1. The part goes on file, 2. the gate acts on it: a crash in between loses one act, and repeats none.
        if self._acted is not None:
            key = (instruction.station, instruction.camera_id, instruction.part_key)
            self._acted.add(key, instruction.captured_at_us)
        lateness_ms = (self._clock.monotonic_s() - instruction.act_at_s) * 1e3
        try:
            self._actuator.act(instruction)
        except Exception:
            # A driver may raise anything; the other parts on the belt still need their action.
            self._act_errors += 1
            log.exception("the actuator failed on part %s (%s)", instruction.part_key, instruction.action)
        with self._lock:
            self._lateness.add(max(lateness_ms, 0.0))
            if instruction.armed_at_us is not None and not self.settings.simulated:
                self._latencies_ms.append((instruction.armed_at_us - instruction.captured_at_us) / 1e3)
        try:
            if self._on_action is not None:
                self._on_action(instruction, instruction.decision)
        except Exception:
            # This is the caller's code: the belt does not wait until it is repaired.
            log.exception("a callback failed on part %s", instruction.part_key)
