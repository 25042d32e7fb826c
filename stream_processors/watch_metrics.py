"""Counters and gauges of `inspection watch`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stream_processors.watch_camera import WatchedCamera


class WatchMetrics:
    """All metrics of one process, in a registry of their own.

    Examples
    --------
    >>> WatchMetrics().registry.get_sample_value("inspection_watch_unreadable_total", {"kind": "truncated"})
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        camera = ["camera"]
        self.messages = Gauge(
            "inspection_watch_decisions",
            "Decisions of a camera by what became of them (watched, duplicate, old, ...); resets; signals that were "
            "missing or not a number",
            ["camera", "what"],
            registry=self.registry,
        )
        self.open = Gauge("inspection_watch_in_episode", "1 while an episode is open", camera, registry=self.registry)
        self.stride = Gauge(
            "inspection_watch_stride", "One frame in so many is watched", camera, registry=self.registry
        )
        self.events = Counter(
            "inspection_watch_events", "Drift events published", ["type", "state"], registry=self.registry
        )
        self.unreadable = Counter(
            "inspection_watch_unreadable", "Messages that are no decision or label", ["kind"], registry=self.registry
        )
        self.state_bytes = Gauge(
            "inspection_watch_state_bytes", "Size of a camera's snapshot", camera, registry=self.registry
        )
        self.error_rate = Gauge(
            "inspection_watch_error_rate",
            "Share of errors in the newest 100 labels of accepted (escapes) or rejected parts (overkill), by why they "
            "were labelled",
            ["camera", "side", "because"],
            registry=self.registry,
        )
        self.labels = Gauge(
            "inspection_watch_labels", "Labels behind it", ["camera", "side", "because"], registry=self.registry
        )
        self.took = Histogram(
            "inspection_watch_seconds",
            "Time that a decision or label took",
            buckets=(2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 5e-2),
            registry=self.registry,
        )

    def show(self, camera: WatchedCamera, snapshot_bytes: int) -> None:
        """Take the figures of a camera, when it is snapshotted."""
        self.open.labels(camera.key).set(camera.in_episode)
        self.stride.labels(camera.key).set(camera.watch.stride)
        self.state_bytes.labels(camera.key).set(snapshot_bytes)
        for stream in camera.quality.streams:  # the newest decider's comes last
            names = (camera.key, stream.side, stream.sampled_because)
            self.labels.labels(*names).set(stream.labels)
            if stream.error_rate is not None:
                self.error_rate.labels(*names).set(stream.error_rate)
        for what, count in camera.watch.counts.items():
            self.messages.labels(camera.key, what).set(count)
