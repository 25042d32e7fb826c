"""Counters and gauges of `inspection watch`."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stream_processors.watch.camera import UNWATCHED, WatchedCamera
from transport.metric_labels import OTHER, LabelNames, label_text


class WatchMetrics:
    """Metrics of one process, in their own registry.

    Examples
    --------
    >>> WatchMetrics().registry.get_sample_value("inspection_watch_unreadable_total", {"kind": "truncated"})
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        #: For /health: cameras whose newest 100 or more decisions were not watched, with the number of these decisions.
        self.about: dict[str, Any] = {"not_watched": {}}
        self._names = LabelNames()
        #: Gauges and label values of each camera, so that they can be removed with it.
        self._cells: dict[str, set[tuple[Gauge, tuple[str, ...]]]] = {}
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
        self.signature_faults = Counter(
            "inspection_watch_signature_faults",
            "Labels whose signature is missing or wrong, by why",
            ["why"],
            registry=self.registry,
        )
        self.state_bytes = Gauge(
            "inspection_watch_state_bytes", "Size of a camera's snapshot", camera, registry=self.registry
        )
        self.products = Gauge(
            "inspection_watch_products", "Products that are watched side by side", camera, registry=self.registry
        )
        self.unwatched = Gauge(
            "inspection_watch_unwatched_in_a_row",
            "Decisions in a row, up to the newest, that were not watched",
            camera,
            registry=self.registry,
        )
        self.forgotten = Counter(
            "inspection_watch_forgotten_cameras", "Cameras that made room for others", registry=self.registry
        )
        self.void_snapshots = Counter(
            "inspection_watch_void_snapshots",
            "Messages of the state topic that are no snapshot",
            registry=self.registry,
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
        """Update the figures of a camera; call when its snapshot is taken."""
        key = self._names.of(camera.key)
        cells = self._cells.setdefault(camera.key, set())

        def put(gauge: Gauge, value: float, *names: str) -> None:
            gauge.labels(key, *names).set(value)
            cells.add((gauge, (key, *names)))

        put(self.open, camera.in_episode)
        put(self.stride, camera.watch.stride)
        put(self.products, camera.watch.products)
        put(self.unwatched, camera.unwatched)
        put(self.state_bytes, snapshot_bytes)
        for stream in camera.quality.streams:  # the stream of the newest decider comes last
            put(self.labels, stream.labels, stream.side, stream.sampled_because)
            if stream.error_rate is not None:
                put(self.error_rate, stream.error_rate, stream.side, stream.sampled_because)
        for what, count in camera.watch.counts.items():
            put(self.messages, count, label_text(what))
        self._note_unwatched(key, camera.unwatched if camera.unwatched >= UNWATCHED else None)

    def forget(self, camera: WatchedCamera) -> None:
        """Remove the figures of a camera that is no longer watched; those under the label `OTHER` stay."""
        # The label of a camera may have changed: a name gets a label of its own when another one has been forgotten.
        own = {(gauge, names) for gauge, names in self._cells.pop(camera.key, set()) if names[0] != OTHER}
        for gauge, names in own:
            gauge.remove(*names)
        for label in {names[0] for _, names in own}:
            self._note_unwatched(label, None)
            self._names.forget(camera.key)

    def _note_unwatched(self, key: str, count: int | None) -> None:
        before: dict[str, int] = self.about["not_watched"]
        if before.get(key) != count:
            # A new dictionary: another thread may be writing the old one into an answer.
            others = {name: number for name, number in before.items() if name != key}
            self.about["not_watched"] = others if count is None else {**others, key: count}
