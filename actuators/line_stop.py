"""Consequences of FAULT: it goes on file, the driver stops the line, and a person's reset ends both."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from actuators.actuator import Actuator, LineStop
from actuators.fault import Fault, FaultLatch
from actuators.fault_store import FaultStore, PersistedFault, Reset
from schemas.clock import Clock
from schemas.errors import InspectionError, SettingsError

log = logging.getLogger(__name__)

#: Interval, in seconds, at which a person's reset is looked for and a failed write of the file is retried.
_CHECK_INTERVAL_S = 0.25


class LineStopper:
    """Writer of the fault file and caller of the driver, so that both follow the latch.

    `open`, `update` and `close` run on the thread that runs the gate at that moment.

    Parameters
    ----------
    latch, lock
        The latch of the tracker, and the lock that guards it.
    store
        Files of the fault; None: in memory only, a restart forgets it.
    on_fault
        Called with the number of parts in a row when the gate goes into FAULT.
    """

    def __init__(
        self,
        actuator: Actuator,
        latch: FaultLatch,
        lock: threading.Lock,
        store: FaultStore | None,
        clock: Clock,
        on_fault: Callable[[int], None] | None = None,
    ) -> None:
        self._actuator = actuator
        self._latch = latch
        self._lock = lock
        self._store = store
        self._clock = clock
        self._on_fault = on_fault
        self._on_file: PersistedFault | None = None
        self._reported: Fault | None = None
        self._stopped = False
        self._next_check_s = 0.0
        self._save_failed = False
        #: Failed calls of the driver's `stop_line` or `release_line`.
        self.errors = 0

    def open(self) -> None:
        """Lock the state directory, and restore the fault that a former run left there.

        Raises
        ------
        SettingsError
            If the directory cannot be used.
        """
        if self._store is None:
            return
        self._store.open()
        stored = self._store.load(self._clock.utc_us())
        if stored.fault is not None:
            with self._lock:
                self._latch.restore(stored.fault)
            self._reported = stored.fault
            log.error("the gate starts in FAULT: %s; it ends with `inspection gate reset`", stored.fault.reason)
        self._on_file = stored if stored.is_readable and self._store.path.exists() else None

    def close(self) -> None:
        """Put the last state on file and unlock the directory. Files of another gate stay as they are."""
        if self._store is not None and self._store.is_open:
            self._save()
            self._store.close()

    def update(self) -> None:
        """Handle a new fault or a reset. Call every few milliseconds."""
        fault = self._latch.fault
        # If another fault follows a reset at once, the line remains stopped, for the new reason.
        changed = (fault is not None) != self._stopped or (fault is not None and fault is not self._reported)
        now_s = self._clock.monotonic_s()
        if not changed and now_s < self._next_check_s:
            return
        self._next_check_s = now_s + _CHECK_INTERVAL_S
        # 1. The fault goes on file, 2. the driver stops the line: after a crash in between the gate starts in FAULT.
        self._save()
        if changed:
            self._report(fault)
        if self._store is not None:
            self._take_request(self._store)

    def reset(self, who: str, note: str) -> bool:
        """End the fault; return False if the gate is not in FAULT. Thread-safe.

        Raises
        ------
        SettingsError
            If name or note is missing, or the reset cannot be put on file; the fault stays then.
        """
        fault = self._latch.fault
        reset = Reset("" if fault is None else fault.fault_id, who, note, self._clock.utc_us(), os.getuid())
        if fault is None:
            return False
        self._end(fault, reset)
        return True

    def _end(self, fault: Fault, reset: Reset) -> None:
        with self._lock:
            if self._latch.fault is not fault:
                return
            # 1. The reset goes on file, 2. the gate continues: a reset that was confirmed to a person is not lost.
            if self._store is not None:
                self._store.end(fault, reset)
                self._on_file = PersistedFault(None, reset)
            self._latch.clear()
        log.warning("FAULT %s (%s) reset by %s: %s", fault.fault_id, fault.reason, reset.who, reset.note)

    def _take_request(self, store: FaultStore) -> None:
        try:
            reset = store.take_request()
            fault = self._latch.fault
            if reset is None:
                return
            if fault is None or fault.fault_id != reset.fault_id:
                log.warning("a reset of fault %s by %s is ignored: that fault is over", reset.fault_id, reset.who)
                return
            self._end(fault, reset)
        except InspectionError as error:
            log.error("%s", error)

    def _save(self) -> None:
        if self._store is None:
            return
        with self._lock:
            fault, on_file = self._latch.fault, self._on_file
        wanted = PersistedFault(fault, None if on_file is None else on_file.last_reset)
        # If somebody else has changed or removed the file, it is written again: the running gate knows the state.
        if wanted == on_file and self._store.load(0) == wanted:
            return
        try:
            with self._lock:
                if self._latch.fault is not fault:
                    return  # reset meanwhile
                self._store.save(wanted)
                self._on_file = wanted
            self._save_failed = False
        except SettingsError as error:
            if not self._save_failed:
                log.error("%s; the gate goes on, and tries again", error)
            self._save_failed = True

    def _report(self, fault: Fault | None) -> None:
        self._stopped = fault is not None
        if fault is not None and fault is not self._reported:
            end = "`inspection gate reset`" if self._store is not None else "it starts again (it has no --state-dir)"
            log.error("FAULT: %s; the gate accepts nothing until %s", fault.reason, end)
        can_stop = isinstance(self._actuator, LineStop)
        if fault is not None and not can_stop:
            log.warning("the driver %s cannot stop the line", type(self._actuator).__name__)
        try:
            if isinstance(self._actuator, LineStop):
                if fault is not None:
                    self._actuator.stop_line(fault.reason)
                else:
                    self._actuator.release_line()
        except Exception:
            # A driver may raise anything; every part still gets its fail-safe.
            self.errors += 1
            log.exception("the driver failed to %s the line", "stop" if fault is not None else "release")
        try:
            if fault is not None and fault is not self._reported and self._on_fault is not None:
                self._on_fault(fault.in_a_row)
        except Exception:
            log.exception("the callback for a fault failed")
        self._reported = fault
