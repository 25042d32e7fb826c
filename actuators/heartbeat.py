"""Check that the gate still hears from the broker, and of decisions while parts pass."""

from __future__ import annotations

import logging

from schemas.clock import Clock

log = logging.getLogger(__name__)


class Heartbeat:
    """Detector of silence. It changes nothing at the gate: a part without a decision gets its fail-safe at its time.

    Two kinds of silence make a gate DEGRADED. Each is logged once and counted once: the broker does not answer for
    ``heartbeat_ms`` (a healthy one answers every half second, also on an idle line), or parts pass while no decision
    comes, for ``heartbeat_ms`` or, if longer, the time that a decision may take.

    Parameters
    ----------
    heartbeat_ms
        Longest silence, in ms; 0: never degraded.
    decide_by_ms
        Longest time that a decision may take, in ms.

    Examples
    --------
    >>> from schemas.clock import ManualClock
    >>> clock = ManualClock()
    >>> heartbeat = Heartbeat(2000, 500, clock)
    >>> heartbeat.part_expected()
    >>> clock.advance(2.1)
    >>> heartbeat.check(contact_age_s=0.3)
    >>> heartbeat.degraded
    'no decision for 2.1 s while parts pass'
    >>> heartbeat.decision_received()
    >>> heartbeat.check(contact_age_s=0.3)
    >>> heartbeat.degraded, heartbeat.times
    (None, 1)
    """

    def __init__(self, heartbeat_ms: float, decide_by_ms: float, clock: Clock) -> None:
        self._heartbeat_s = heartbeat_ms / 1e3
        self._silence_s = max(heartbeat_ms, decide_by_ms) / 1e3
        self._clock = clock
        self._waiting_since_s: float | None = None
        self._kind: str | None = None
        #: Reason why the gate is degraded; None while it is not.
        self.degraded: str | None = None
        #: Number of times that the gate became degraded.
        self.times = 0

    def part_expected(self) -> None:
        """Record a trigger: the gate expects a decision from now on."""
        if self._waiting_since_s is None:
            self._waiting_since_s = self._clock.monotonic_s()

    def decision_received(self) -> None:
        """Record that a decision was received, on any part."""
        self._waiting_since_s = None

    def check(self, contact_age_s: float | None) -> None:
        """Check for silence, and update `degraded`.

        Parameters
        ----------
        contact_age_s
            Seconds since the broker's last answer; None if unknown.
        """
        if self._heartbeat_s <= 0:
            return
        kind, reason = self._find_problem(contact_age_s)
        if kind != self._kind:
            if kind is not None:
                self.times += 1
                log.error("DEGRADED: %s; parts get the fail-safe action at their time", reason)
            else:
                log.warning("no longer DEGRADED: broker and decisions are heard of again")
        self._kind, self.degraded = kind, reason

    def _find_problem(self, contact_age_s: float | None) -> tuple[str | None, str | None]:
        if contact_age_s is not None and contact_age_s > self._heartbeat_s:
            return "broker", f"nothing heard of the broker for {contact_age_s:.1f} s"
        if self._waiting_since_s is not None:
            silent_s = self._clock.monotonic_s() - self._waiting_since_s
            if silent_s > self._silence_s:
                return "decisions", f"no decision for {silent_s:.1f} s while parts pass"
        return None, None
