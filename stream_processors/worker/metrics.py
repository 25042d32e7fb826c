"""Histograms and counters of a worker, measured in the code that does the work.

Faust's own monitor is not used: it takes its times from the end of the work and sees no batches.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.records import MICROSECONDS_PER_MS, Decision, ResultState
from stream_processors.worker.frame_task import ProcessingResult
from transport.metric_labels import LabelNames

M = TypeVar("M", Counter, Histogram)

#: Number of answers counted together, while the counting code is in the processor's caches.
_TOGETHER = 64

#: Buckets for the factors by which images are reduced.
_SHRINKING = (8, 12, 16, 24, 32, 48, 64, 128)
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.06, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60)


class WorkerMetrics:
    """Metrics of one worker, in their own registry.

    Examples
    --------
    >>> WorkerMetrics().registry.get_sample_value("inspection_dead_letters_total", {"kind": "truncated"})
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._new: deque[tuple[Decision | None, str | None, str | None, bool, float]] = deque()
        self._lock = threading.Lock()  # a scrape comes from another thread
        self.registry.register(self)  # first, see `collect`
        self._known: dict[tuple[Any, ...], Any] = {}
        self._shown_lags: set[int] = set()
        self._cameras = LabelNames()
        self.stage = Histogram(
            "inspection_stage_seconds",
            "Time a frame spent in a stage: queue (received to start), decode, infer, publish (to acknowledgement)",
            ["stage"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.capture_to_decision = Histogram(
            "inspection_capture_to_decision_seconds",
            "Capture to decision made, by the clocks of camera and worker",
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.decisions = Counter(
            "inspection_decisions", "Decisions acknowledged by Kafka", ["camera", "action"], registry=self.registry
        )
        self.late = Counter("inspection_late_decisions", "Decisions made after the deadline", registry=self.registry)
        self.dead_letters = Counter(
            "inspection_dead_letters", "Dead letters acknowledged by Kafka", ["kind"], registry=self.registry
        )
        self.bare_letters = Counter(
            "inspection_dead_letters_without_value",
            "Dead letters without their value: more bytes of them came than a worker writes",
            registry=self.registry,
        )
        self.untrue = Counter(
            "inspection_untrue_claims",
            "Claims of messages that were ignored: replay-header, retry-header, captured-in-the-future, "
            "started-in-the-future",
            ["camera", "what"],
            registry=self.registry,
        )
        self.signature_faults = Counter(
            "inspection_signature_faults",
            "Frames and retries whose signature is missing or wrong, by why",
            ["camera", "why"],
            registry=self.registry,
        )
        self.shed = Counter(
            "inspection_shed",
            "Frames answered without a verdict, by reason: deadline, overtaken, late (inspected, but not in time)",
            ["camera", "reason"],
            registry=self.registry,
        )
        self.slack = Histogram(
            "inspection_deadline_slack_seconds",
            "Time from decision to deadline of inspected frames; late ones are 0",
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.estimate = Gauge(
            "inspection_estimate_seconds", "What an inspection is allowed to take", registry=self.registry
        )
        self.image_store_unreachable = Gauge(
            "inspection_image_store_away", "1 while the image store does not answer", registry=self.registry
        )
        self.image_remarks = Counter(
            "inspection_image_remarks",
            "Images that were inspected although something is odd: low-16-bit, transparency, shrunk, stray-bytes, "
            "second-picture",
            ["kind"],
            registry=self.registry,
        )
        self.shrinking = Histogram(
            "inspection_image_shrinking",
            "Image pixels for each pixel of the model's input, in one direction, where they are more than 8",
            buckets=_SHRINKING,
            registry=self.registry,
        )
        self.lag = Gauge("inspection_lag", "Frames not committed yet", ["partition"], registry=self.registry)
        self.deleted = Counter(
            "inspection_deleted_unread",
            "Offsets of the frames topic that were deleted before the worker read them",
            registry=self.registry,
        )
        self.in_flight_bytes = Gauge(
            "inspection_held_bytes", "Bytes of frames read and not yet answered", registry=self.registry
        )

    def record(self, answer: ProcessingResult, publish_s: float) -> None:
        """Record one answer that Kafka has acknowledged. The counters follow at the next scrape at the latest."""
        for remark in answer.remarks:
            self._of(self.image_remarks, remark.kind).inc()
            if remark.factor:
                self.shrinking.observe(remark.factor)
        self._new.append((answer.decision, answer.kind, answer.shed, answer.is_bare, publish_s))
        if len(self._new) >= _TOGETHER:
            self._count()

    def show_lag(self, lags: Mapping[int, int]) -> None:
        """Show the frames not committed yet by partition; partitions that are left out are another worker's now."""
        for partition in self._shown_lags - set(lags):
            self.lag.remove(str(partition))
        for partition, lag in lags.items():
            self.lag.labels(str(partition)).set(lag)
        self._shown_lags = set(lags)

    def untrue_claim(self, camera: str, what: str) -> None:
        """Count a false claim of a message, which was ignored."""
        self.untrue.labels(self._cameras.of(camera), what).inc()

    def signature_fault(self, camera: str, fault: str) -> None:
        """Count a frame whose signature is missing or wrong."""
        self.signature_faults.labels(self._cameras.of(camera), str(fault)).inc()

    def collect(self) -> tuple[()]:
        """Count the new answers; the registry calls this before the metrics themselves."""
        self._count()
        return ()

    def _count(self) -> None:
        with self._lock:
            for _ in range(len(self._new)):
                self._count_one(*self._new.popleft())

    def _count_one(
        self, decision: Decision | None, kind: str | None, shed: str | None, is_bare: bool, publish_s: float
    ) -> None:
        self._of(self.stage, "publish").observe(publish_s)
        if shed is not None and decision is not None:
            self._of(self.shed, self._cameras.of(decision.key), shed).inc()
        if kind is not None:
            self._of(self.dead_letters, kind).inc()
        if is_bare:
            self.bare_letters.inc()
        if decision is not None:
            self._record_decision(decision)

    def _of(self, metric: M, *labels: str) -> M:
        """Return the metric with these labels, looked up once: the library's look-up costs more than the counting."""
        found = self._known.get((id(metric), *labels))
        if found is None:
            found = self._known[id(metric), *labels] = metric.labels(*labels)
        return found

    def _record_decision(self, decision: Decision) -> None:
        for stage, duration_ms in decision.durations_ms.items():
            self._of(self.stage, stage).observe(duration_ms / 1000)
        age_us = decision.decided_at_us - decision.captured_at_us
        self.capture_to_decision.observe(max(0.0, age_us / (1000 * MICROSECONDS_PER_MS)))
        self._of(self.decisions, self._cameras.of(decision.key), decision.action.value).inc()
        if decision.is_late:
            self.late.inc()
        if decision.deadline_at_us is not None and decision.result_state is ResultState.COMPLETED:
            self.slack.observe(max(0, decision.deadline_at_us - decision.decided_at_us) / 1e6)
