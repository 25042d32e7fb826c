"""Prometheus metrics of a gate, read from its stats at each scrape, so that the belt never waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from actuators.actuator import InstructionReason
from actuators.counts import ACTION_COUNTS, REASON_COUNTS, GateState, GateStats
from actuators.drift_watch import DriftStats
from actuators.lateness import BOUNDS_MS, Lateness

#: Reasons by name in the metric ``inspection_gate_unused_decisions``, with the fields of the tracker's counts.
_DECISIONS = {
    "late": "late",
    "conflict": "conflicts",
    "duplicate": "duplicates",
    "superseded": "superseded",
    "unknown_part": "unknown",
    "simulated": "refused_simulated",
    "not_completed": "refused_invalid",
}


class GateMetrics(Collector):
    """Metrics of one gate, in their own registry.

    Parameters
    ----------
    stats
        Function that returns the current stats: ``lambda: gate.stats``.
    triggers_connected
        Function that returns True while the topic of the triggers is read: ``lambda: triggers.connected``. None: the
        triggers come from a light barrier.

    Examples
    --------
    >>> from actuators.counts import ConsumerCounts, TrackerCounts
    >>> stats = GateStats(TrackerCounts(failsafe_late=3), ConsumerCounts(), 0, 0, True)
    >>> metrics = GateMetrics(lambda: stats)
    >>> metrics.registry.get_sample_value("inspection_gate_parts_total", {"why": "failsafe-late"})
    3
    """

    def __init__(self, stats: Callable[[], GateStats], triggers_connected: Callable[[], bool] | None = None) -> None:
        self._stats = stats
        self._triggers_connected = triggers_connected
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yield one snapshot as metric families."""
        stats = self._stats()
        parts, consumer = stats.tracker, stats.consumer
        numbers = parts.as_dict()
        yield _counts("parts", "Parts acted on, by why", "why", {why: numbers[f] for why, f in REASON_COUNTS.items()})
        yield _counts("actions", "Parts acted on, by action", "action", {a: numbers[a] for a in ACTION_COUNTS.values()})
        refused = {name: numbers[field] for name, field in _DECISIONS.items()}
        refused |= {"unreadable": consumer.undecodable, "old": consumer.skipped_old}
        refused |= {"untrusted": consumer.untrusted}
        refused["duplicate"] += consumer.duplicates
        yield _counts("unused_decisions", "Decisions that armed no part, by why", "why", refused)
        yield _count("repeated_triggers", "Triggers of parts known already", parts.repeated_triggers)
        views = {"on-belt": parts.further_views, "late": parts.late_views}
        yield _counts("further_views", "Views of a part beyond its first, by when they came", "when", views)
        yield _count("late_contradictions", "Decisions against an ACCEPT, after the act", parts.late_contradictions)
        yield _count("overflow", "Parts that the gate had no room for", parts.overflow)
        yield _count("act_errors", "Calls of the driver that failed", stats.act_errors)
        yield _count("state_errors", "Acts that could not be put on file", stats.state_errors)
        yield _count("faults", "Times the gate went into FAULT", stats.faults)
        yield _count("degradations", "Times the gate became DEGRADED", stats.degradations)
        yield _count("standstills", "Times the belt was said to stand", parts.standstills)
        yield _count("gaps", "Times the gate itself stood still, or its machine was suspended", stats.gaps)
        yield _gauge("belt_stopped", "1 while the belt is said to stand", stats.belt_stopped)
        yield _gauge("fault", "1 in FAULT: nothing is accepted until a person resets it", stats.fault is not None)
        yield _gauge("degraded", "1 without a word of broker or decisions", stats.degraded is not None)
        yield _gauge("connected", "1 while the broker answers", stats.connected)
        if self._triggers_connected is not None:
            is_connected = self._triggers_connected()
            yield _gauge("triggers_connected", "1 while the topic of the triggers is read", is_connected)
        yield _gauge("running", "1 while neither in FAULT nor degraded", stats.state is GateState.RUNNING)
        yield _gauge("undecided_in_a_row", "Parts in a row without a usable decision", parts.consecutive_failsafe)
        yield _gauge("pending_parts", "Parts between camera and gate", stats.pending)
        yield _histogram(stats.lateness)
        if stats.drift is not None:
            yield from _drift(stats.drift)


def _count(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(f"inspection_gate_{name}", what, value=value)


def _counts(name: str, what: str, label: str, values: dict[str, int] | dict[InstructionReason, int]) -> Metric:
    family = CounterMetricFamily(f"inspection_gate_{name}", what, labels=[label])
    for value, number in values.items():
        family.add_metric([str(value)], number)
    return family


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"inspection_gate_{name}", what, value=float(value))


def _drift(drift: DriftStats) -> Iterator[Metric]:
    yield _gauge("drift_connected", "1 while the drift topic is read up to now and the broker answers", drift.connected)
    yield _gauge("drift_open_episodes", "Episodes of drift that are open and not acknowledged", drift.open_episodes)
    yield _count("drift_events", "Drift events taken note of", drift.events)
    refused = {"simulated": drift.simulated, "unreadable": drift.undecodable, "refused": drift.refused}
    yield _counts("unused_drift_events", "Messages of the drift topic that say nothing of it, by why", "why", refused)


def _histogram(lateness: Lateness) -> Metric:
    buckets, total = [], 0
    for bound, number in zip([*(str(ms / 1e3) for ms in BOUNDS_MS), "+Inf"], lateness.counts, strict=True):
        total += number
        buckets.append((bound, total))
    what = "How long after its arrival at the gate a part was acted on"
    return HistogramMetricFamily(
        "inspection_gate_act_lateness_seconds", what, buckets=buckets, sum_value=lateness.sum_ms / 1e3
    )
