"""Program of a gate with triggers from the frames topic, until a stop event is set."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actuators.actuator import Instruction
from actuators.consumer import DecisionConsumer
from actuators.counts import GateStats
from actuators.drift_watch import DriftStats, DriftWatch
from actuators.errors import GateError
from actuators.gate import GateRunner
from actuators.journal import Journal
from actuators.metrics import GateMetrics
from actuators.plugins import load_actuator
from actuators.settings import GateSettings
from actuators.triggers import FrameTriggers, TriggerCounts
from monitoring.percentiles import percentiles
from schemas.records import Decision, DriftType
from schemas.replay_headers import require_replay_prefix
from schemas.settings import KafkaSettings
from transport.batch_letters import BatchLetters
from transport.belief import SignaturePolicy, make_belief
from transport.http_server import LOOPBACK, serve_http
from transport.rights import require_rights

log = logging.getLogger(__name__)
_POLL_S = 0.2
_MAX_AGE_S = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class GateReport:
    """Counts of a gate from start to stop; latencies in ms, from the capture to the decision at the gate."""

    gate: GateStats
    triggers: TriggerCounts
    latency_ms: dict[str, float | None]
    journal_errors: int
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return one object for JSON: the tracker's counts at its top level, and the other facts by name."""
        return {
            **self.gate.tracker.as_dict(),
            "state": self.gate.state.value,
            "fault": None if self.gate.fault is None else dataclasses.asdict(self.gate.fault),
            "faults": self.gate.faults,
            "degradations": self.gate.degradations,
            "gaps": self.gate.gaps,
            "drift": _drift_row(self.gate.drift),
            "act_errors": self.gate.act_errors,
            "act_lateness_worst_ms": round(self.gate.lateness.worst_ms, 3),
            "consumer": dataclasses.asdict(self.gate.consumer),
            "triggers": dataclasses.asdict(self.triggers),
            "capture_to_gate_ms": self.latency_ms,
            "journal_errors": self.journal_errors,
            "error": self.error,
        }

    def as_lines(self) -> list[str]:
        """Return a few lines for a person."""
        parts, duplicates = self.gate.tracker, self.gate.tracker.duplicates + self.gate.consumer.duplicates
        lines = [
            f"{parts.actuated} parts: {parts.accepted} accepted, {parts.rejected} rejected, {parts.review} to review;"
            f" {parts.failsafe} of them by fail-safe",
            f"decisions: {parts.late} late, {parts.conflicts} conflicting, {duplicates} duplicate,"
            f" {parts.unknown} without a part, {self.gate.consumer.undecodable} unreadable"
            + (f", {self.gate.consumer.untrusted} not believed" if self.gate.consumer.untrusted else ""),
        ]
        if self.latency_ms["p50"] is not None:
            lines.append(f"capture to gate: p50 {self.latency_ms['p50']} ms, p99 {self.latency_ms['p99']} ms")
        if self.gate.faults or self.gate.degradations:
            lines.append(f"FAULT {self.gate.faults} times, DEGRADED {self.gate.degradations} times")
        if parts.several_views or parts.late_views:
            lines.append(
                f"seen more than once: {parts.several_views} parts, and {parts.late_views} views after the act;"
                f" {parts.late_contradictions} accepted parts were contradicted later"
            )
        if parts.standstills or self.gate.gaps:
            lines.append(
                f"the belt stood {parts.standstills} times ({parts.belt_stopped} parts on it), the gate itself"
                f" {self.gate.gaps} times ({parts.failsafe_passed} parts passed)"
            )
        if self.gate.drift is not None:
            open_episodes = self.gate.drift.open_episodes
            lines.append(f"drift: {parts.drift_review} parts to review because of it, {open_episodes} episodes open")
        if self.gate.fault is not None:
            lines.append(f"in FAULT: {self.gate.fault.reason}")
        return lines


def run_gate(
    kafka: KafkaSettings,
    settings: GateSettings,
    *,
    driver: str,
    driver_options: Mapping[str, str],
    station: str | None,
    journal: Path | None,
    state_dir: Path | None,
    http_host: str = LOOPBACK,
    http_port: int | None = None,
    drift_type: DriftType | None = None,
    trust: Path | None = None,
    trust_topic: bool = False,
    signatures: SignaturePolicy | None = None,
    stop: threading.Event,
) -> GateReport:
    """Run a gate until the stop event is set, or until one of its threads dies.

    Parameters
    ----------
    trust, signatures
        Folder of public keys, and what to do with decisions and acknowledgements whose signature is missing or wrong,
        see `transport.belief.make_belief`.
    trust_topic
        True: the topic of keys of the line is followed, too.
    stop
        Event that ends the gate. The gate still acts on the parts on the belt.

    Raises
    ------
    InspectionError
        If something fails before the gate runs.
    """
    book = None if journal is None else Journal(journal)

    def on_action(instruction: Instruction, _: Decision | None) -> None:
        if book is not None:
            book.write(instruction)

    if settings.simulated:
        require_replay_prefix(kafka.prefix)
    require_rights(kafka, read=[kafka.decisions, kafka.frames, kafka.drift])
    # On a long belt, a decision may be old and still in time.
    max_age_s = None if settings.simulated else max(_MAX_AGE_S, settings.belt_ms / 1e3)
    belief = make_belief(trust, signatures, line=kafka if trust_topic else None)
    letters = BatchLetters(kafka, "actuate")
    consumer = DecisionConsumer(
        kafka, station=station, state_dir=state_dir, max_age_s=max_age_s, on_unreadable=letters.write, belief=belief
    )
    gate = GateRunner(
        consumer,
        load_actuator(driver, driver_options),
        settings,
        on_action=on_action,
        state_dir=state_dir,
        drift=DriftWatch(
            kafka,
            station=station,
            drift_type=drift_type,
            simulated=settings.simulated,
            on_unreadable=letters.write,
            belief=belief,
        ),
    )
    triggers = FrameTriggers(
        kafka,
        gate.expect_frame,
        max_age_s=None if settings.simulated else settings.belt_ms / 1e3,
        station=station,
        on_read=gate.note_trigger,
        on_unreadable=letters.write,
    )
    error = None
    registry = GateMetrics(lambda: gate.stats, lambda: triggers.connected).registry
    if belief is not None:
        belief.add_metrics(registry)
    with serve_http(registry, http_port, http_host):
        if book is not None:
            book.open()
        try:
            if belief is not None:
                belief.open()
            # Start the gate first: an early decision waits for its part, but a decision that is not read is lost.
            gate.start()
            triggers.start()
            log.info("gate ready: %s, %s", kafka.bootstrap_servers, kafka.decisions)
            while gate.is_running and triggers.is_running and not stop.wait(_POLL_S):
                pass
            if not triggers.is_running:
                error = "the triggers stopped: parts would pass the gate unseen"
        finally:
            triggers.stop()
            try:
                gate.stop()
            except GateError as died:
                error = str(died)
            letters.close()
            if belief is not None:
                belief.close()
            if book is not None:
                book.close()
    return GateReport(
        gate.stats, triggers.counts, percentiles(gate.latencies_ms), 0 if book is None else book.errors, error
    )


def _drift_row(drift: DriftStats | None) -> dict[str, Any] | None:
    if drift is None:
        return None
    row = dataclasses.asdict(drift)
    del row["connected"]  # the gate has ended, and its drift watch too
    return row
