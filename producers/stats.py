"""Outcome of each capture: counters of each publisher, mirrored to Prometheus metrics."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as PrometheusCounter

from transport.metric_labels import LabelNames

#: Reason for which a frame was not sent: the queue was full, the frame is over the topic's limit, the publisher was
#: closing, the spool was full, or the disk under the spool did not take the frame.
DropReason = Literal["queue-full", "too-large", "closed", "spool-full", "spool-unwritable"]
#: Reason for which a frame failed: its pixels or fields cannot be encoded, its acknowledgement did not come in time, or
#: the disk altered it.
FailReason = Literal["unencodable", "undelivered", "spool-damaged"]

_LATENCIES_KEPT = 1024
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120)


@dataclass(frozen=True, slots=True)
class PublisherStats:
    """Counts since the publisher opened; ``captured == published + dropped + failed + spooled + pending``.

    ``published`` frames are acknowledged by the broker. ``spooled`` frames are on disk and will be published.
    ``recovered`` frames of earlier runs were published from the spool; the counts above do not include them.
    ``no_part_id`` counts captures whose part id was a text of `PublisherOptions.no_part_ids`. ``bytes`` counts the
    images of published frames. Latency is from capture to acknowledgement in ms, over the last 1,024 published frames;
    None before the first published frame. ``refused_because`` is the reason for which Kafka will not accept frames of
    the spool until a person acts.
    """

    captured: int = 0
    published: int = 0
    dropped_by_reason: dict[DropReason, int] = field(default_factory=dict)
    failed_by_reason: dict[FailReason, int] = field(default_factory=dict)
    bytes: int = 0
    spooled: int = 0
    recovered: int = 0
    latency_ms_p50: float | None = None
    latency_ms_p99: float | None = None
    no_part_id: int = 0
    refused_because: str | None = None

    @property
    def dropped(self) -> int:
        """Number of frames that were dropped on purpose, for any reason."""
        return sum(self.dropped_by_reason.values())

    @property
    def failed(self) -> int:
        """Number of frames that were lost to an error."""
        return sum(self.failed_by_reason.values())

    @property
    def too_large(self) -> int:
        """Number of frames over the topic's limit; part of `dropped`."""
        return self.dropped_by_reason.get("too-large", 0)

    @property
    def pending(self) -> int:
        """Number of frames that are in memory only and have no outcome yet."""
        return self.captured - self.published - self.dropped - self.failed - self.spooled


class PublisherMetrics:
    """Prometheus metrics of all publishers of a process, labelled by camera (``station/camera``).

    Parameters
    ----------
    registry
        Registry of the metrics. Default: a private registry.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        #: Label values of cameras, bounded as in every other program.
        self.cameras = LabelNames()
        name = "inspection_producer_"
        self.captured = PrometheusCounter(name + "captured", "Frames captured", ["camera"], registry=registry)
        self.published = PrometheusCounter(name + "published", "Frames acknowledged", ["camera"], registry=registry)
        self.dropped = PrometheusCounter(name + "dropped", "Frames dropped", ["camera", "reason"], registry=registry)
        self.failed = PrometheusCounter(name + "failed", "Frames failed", ["camera", "reason"], registry=registry)
        self.bytes = PrometheusCounter(name + "bytes", "Image bytes published", ["camera"], registry=registry)
        self.latency = Histogram(
            name + "latency_seconds", "Capture to ack", ["camera"], buckets=_BUCKETS_S, registry=registry
        )
        self.recovered = PrometheusCounter(
            name + "recovered", "Frames of earlier runs published from the spool", ["camera"], registry=registry
        )
        self.spool_frames = Gauge(name + "spool_frames", "Frames in the spool", ["camera"], registry=registry)
        self.spool_bytes = Gauge(name + "spool_bytes", "Bytes in the spool", ["camera"], registry=registry)
        self.spool_dropped = PrometheusCounter(
            name + "spool_dropped", "Frames of any run that the spool gave up", ["camera", "reason"], registry=registry
        )
        self.unreachable = Gauge(
            name + "broker_away", "1 while the broker does not take frames", ["camera"], registry=registry
        )
        self.missed = PrometheusCounter(
            name + "missed_slots", "Slots of the rate that passed without a capture", ["camera"], registry=registry
        )
        self.no_part_id = PrometheusCounter(
            name + "no_part_id", "Captures with a text that is no part id", ["camera"], registry=registry
        )
        self.store_unreachable = Gauge(
            name + "image_store_away", "1 while the image store takes no images", ["camera"], registry=registry
        )
        self.store_missed = PrometheusCounter(
            name + "image_store_missed", "Images that the store did not take", ["camera"], registry=registry
        )
        # A camera that hangs raises no error: an alert can only watch the age of its last capture.
        self.last_capture = Gauge(
            name + "last_capture_timestamp_seconds", "UTC of the last capture", ["camera"], registry=registry
        )


class PublisherCounters:
    """Counts of one publisher, mirrored to the metrics. Thread-safe."""

    def __init__(self, camera: str, metrics: PublisherMetrics) -> None:
        self._camera = camera = metrics.cameras.of(camera)
        self._metrics = metrics
        # The metrics that each frame uses are looked up once.
        self._counts_captured = metrics.captured.labels(camera)
        self._counts_published = metrics.published.labels(camera)
        self._counts_bytes = metrics.bytes.labels(camera)
        self._observes_latency = metrics.latency.labels(camera)
        self._settled = threading.Condition()
        self._refused_because: str | None = None
        self._captured = self._published = self._bytes = self._spooled = self._recovered = self._no_part_id = 0
        self._dropped: Counter[DropReason] = Counter()
        self._failed: Counter[FailReason] = Counter()
        self._latencies_ms: deque[float] = deque(maxlen=_LATENCIES_KEPT)

    def capture(self, captured_at_us: int) -> int:
        """Count a capture and return its sequence number, from 0."""
        self._counts_captured.inc()
        self._metrics.last_capture.labels(self._camera).set(captured_at_us / 1e6)
        with self._settled:
            self._captured += 1
            return self._captured - 1

    def publish(self, size_bytes: int, latency_s: float, *, spooled: bool = False) -> None:
        """Count an acknowledged frame; ``spooled`` is True if it was counted as spooled until now."""
        self._counts_published.inc()
        self._counts_bytes.inc(size_bytes)
        self._observes_latency.observe(latency_s)
        with self._settled:
            self._published += 1
            self._spooled -= spooled
            self._bytes += size_bytes
            self._latencies_ms.append(latency_s * 1000)
            self._settled.notify_all()

    def spool(self) -> None:
        """Count a frame that is on disk now."""
        with self._settled:
            self._spooled += 1
            self._settled.notify_all()

    def recover(self) -> None:
        """Count an acknowledged frame of an earlier run."""
        self._metrics.recovered.labels(self._camera).inc()
        with self._settled:
            self._recovered += 1

    def drop(self, reason: DropReason, *, spooled: bool = False) -> None:
        """Count a dropped frame; ``spooled`` is True if it was counted as spooled until now."""
        self._metrics.dropped.labels(self._camera, reason).inc()
        with self._settled:
            self._dropped[reason] += 1
            self._spooled -= spooled
            self._settled.notify_all()

    def record_refusal(self, why: str | None) -> None:
        """Record the reason of a permanent refusal by Kafka; None if Kafka accepts frames again."""
        with self._settled:
            self._refused_because = why

    def fail(self, reason: FailReason, *, spooled: bool = False) -> None:
        """Count a frame that was lost to an error; ``spooled`` is True if it was counted as spooled until now."""
        self._metrics.failed.labels(self._camera, reason).inc()
        with self._settled:
            self._failed[reason] += 1
            self._spooled -= spooled
            self._settled.notify_all()

    def spool_holds(self, frames: int, size_bytes: int) -> None:
        """Show on the gauges the frames of any run in the spool, and their bytes."""
        self._metrics.spool_frames.labels(self._camera).set(frames)
        self._metrics.spool_bytes.labels(self._camera).set(size_bytes)

    def record_spool_loss(self, reason: DropReason | FailReason, frames: int) -> None:
        """Count frames of any run that the spool has dropped."""
        self._metrics.spool_dropped.labels(self._camera, reason).inc(frames)

    def broker_is_unreachable(self, unreachable: bool) -> None:
        """Show on the gauge if the broker is unreachable."""
        self._metrics.unreachable.labels(self._camera).set(unreachable)

    def miss(self, slots: int) -> None:
        """Count slots of the camera's rate that passed without a capture."""
        self._metrics.missed.labels(self._camera).inc(slots)

    def no_part_id(self) -> None:
        """Count a capture whose text for the part id meant that no id was read."""
        self._metrics.no_part_id.labels(self._camera).inc()
        with self._settled:
            self._no_part_id += 1

    def store_is_unreachable(self, unreachable: bool) -> None:
        """Show on the gauge if the image store is unreachable."""
        self._metrics.store_unreachable.labels(self._camera).set(unreachable)

    def store_missed(self) -> None:
        """Count an image that the store did not take; the outcome of its frame is counted like any other."""
        self._metrics.store_missed.labels(self._camera).inc()

    def wait_settled(self, timeout_s: float) -> int:
        """Wait until no frame is pending; return the number of frames that still are."""
        with self._settled:
            self._settled.wait_for(lambda: self._pending() == 0, timeout_s)
            return self._pending()

    def snapshot(self) -> PublisherStats:
        """Return the counts at this moment."""
        with self._settled:
            latencies = sorted(self._latencies_ms)
            last = len(latencies) - 1
            return PublisherStats(
                captured=self._captured,
                published=self._published,
                dropped_by_reason=dict(self._dropped),
                failed_by_reason=dict(self._failed),
                bytes=self._bytes,
                spooled=self._spooled,
                recovered=self._recovered,
                no_part_id=self._no_part_id,
                latency_ms_p50=latencies[round(last * 0.50)] if latencies else None,
                latency_ms_p99=latencies[round(last * 0.99)] if latencies else None,
                refused_because=self._refused_because,
            )

    def _pending(self) -> int:
        return self._captured - self._published - self._dropped.total() - self._failed.total() - self._spooled
