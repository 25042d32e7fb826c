"""What became of each capture: one tally per publisher, and the same as Prometheus metrics."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as PrometheusCounter

#: Why a frame was not sent: the queue was full, it is over the topic's limit, or the publisher was closing.
DropReason = Literal["queue-full", "too-large", "closed"]
#: Why a frame that should have been published was not: its pixels or fields, or no acknowledgement in time.
FailReason = Literal["unencodable", "undelivered"]

_LATENCIES_KEPT = 1024
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120)


@dataclass(frozen=True, slots=True)
class PublisherStats:
    """Counts since the publisher opened; ``captured == published + dropped + failed + pending``.

    ``published`` is acknowledged by the broker. ``bytes`` counts the images of published frames. Latency is from
    capture to acknowledgement in ms, over the last 1,024 published frames; None before the first.
    """

    captured: int = 0
    published: int = 0
    dropped_by_reason: dict[DropReason, int] = field(default_factory=dict)
    failed_by_reason: dict[FailReason, int] = field(default_factory=dict)
    bytes: int = 0
    latency_ms_p50: float | None = None
    latency_ms_p99: float | None = None

    @property
    def dropped(self) -> int:
        """Frames given up on purpose, whatever the reason."""
        return sum(self.dropped_by_reason.values())

    @property
    def failed(self) -> int:
        """Frames lost to an error."""
        return sum(self.failed_by_reason.values())

    @property
    def too_large(self) -> int:
        """Frames over the topic's limit; part of `dropped`."""
        return self.dropped_by_reason.get("too-large", 0)

    @property
    def pending(self) -> int:
        """Frames on their way."""
        return self.captured - self.published - self.dropped - self.failed


class PublisherMetrics:
    """The Prometheus metrics of all publishers of a process, labelled by camera (``station/camera``).

    Parameters
    ----------
    registry
        Where they are registered; a private one without it.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        name = "inspection_producer_"
        self.captured = PrometheusCounter(name + "captured", "Frames captured", ["camera"], registry=registry)
        self.published = PrometheusCounter(name + "published", "Frames acknowledged", ["camera"], registry=registry)
        self.dropped = PrometheusCounter(name + "dropped", "Frames dropped", ["camera", "reason"], registry=registry)
        self.failed = PrometheusCounter(name + "failed", "Frames failed", ["camera", "reason"], registry=registry)
        self.bytes = PrometheusCounter(name + "bytes", "Image bytes published", ["camera"], registry=registry)
        self.latency = Histogram(
            name + "latency_seconds", "Capture to ack", ["camera"], buckets=_BUCKETS_S, registry=registry
        )
        # A camera that hangs raises nothing: its age is what an alert can see.
        self.last_capture = Gauge(
            name + "last_capture_timestamp_seconds", "UTC of the last capture", ["camera"], registry=registry
        )


class Tally:
    """Thread-safe counts of one publisher, mirrored to the metrics."""

    def __init__(self, camera: str, metrics: PublisherMetrics) -> None:
        self._camera = camera
        self._metrics = metrics
        self._settled = threading.Condition()
        self._captured = self._published = self._bytes = 0
        self._dropped: Counter[DropReason] = Counter()
        self._failed: Counter[FailReason] = Counter()
        self._latencies_ms: deque[float] = deque(maxlen=_LATENCIES_KEPT)

    def capture(self, captured_at_us: int) -> int:
        """Count a capture and return its sequence number, from 0."""
        self._metrics.captured.labels(self._camera).inc()
        self._metrics.last_capture.labels(self._camera).set(captured_at_us / 1e6)
        with self._settled:
            self._captured += 1
            return self._captured - 1

    def publish(self, size_bytes: int, latency_s: float) -> None:
        """Count an acknowledged frame."""
        self._metrics.published.labels(self._camera).inc()
        self._metrics.bytes.labels(self._camera).inc(size_bytes)
        self._metrics.latency.labels(self._camera).observe(latency_s)
        with self._settled:
            self._published += 1
            self._bytes += size_bytes
            self._latencies_ms.append(latency_s * 1000)
            self._settled.notify_all()

    def drop(self, reason: DropReason) -> None:
        """Count a frame given up."""
        self._metrics.dropped.labels(self._camera, reason).inc()
        with self._settled:
            self._dropped[reason] += 1
            self._settled.notify_all()

    def fail(self, reason: FailReason) -> None:
        """Count a frame lost to an error."""
        self._metrics.failed.labels(self._camera, reason).inc()
        with self._settled:
            self._failed[reason] += 1
            self._settled.notify_all()

    def wait_settled(self, timeout_s: float) -> int:
        """Wait until nothing is pending; return how many frames still are."""
        with self._settled:
            self._settled.wait_for(lambda: self._pending() == 0, timeout_s)
            return self._pending()

    def snapshot(self) -> PublisherStats:
        """The counts at this moment."""
        with self._settled:
            latencies = sorted(self._latencies_ms)
            last = len(latencies) - 1
            return PublisherStats(
                captured=self._captured,
                published=self._published,
                dropped_by_reason=dict(self._dropped),
                failed_by_reason=dict(self._failed),
                bytes=self._bytes,
                latency_ms_p50=latencies[round(last * 0.50)] if latencies else None,
                latency_ms_p99=latencies[round(last * 0.99)] if latencies else None,
            )

    def _pending(self) -> int:
        return self._captured - self._published - self._dropped.total() - self._failed.total()
