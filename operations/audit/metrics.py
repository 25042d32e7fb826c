"""Figures of an audit as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge

from operations.audit.counts import CameraCounts


def audit_registry(cameras: Mapping[str, CameraCounts], unreadable: Mapping[str, int]) -> CollectorRegistry:
    """Return a registry with a gauge by camera and figure, and a gauge of unreadable messages, which have no camera.

    Examples
    --------
    >>> registry = audit_registry({"s/c": CameraCounts(unaccounted=2)}, {"unreadable_decisions": 1})
    >>> registry.get_sample_value("inspection_audit_frames", {"camera": "s/c", "figure": "unaccounted"})
    2.0
    >>> registry.get_sample_value("inspection_audit_unreadable", {"figure": "unreadable_decisions"})
    1.0
    """
    registry = CollectorRegistry()
    gauge = Gauge("inspection_audit_frames", "Frames by what an audit found", ["camera", "figure"], registry=registry)
    for camera, counts in cameras.items():
        for figure, value in counts.as_dict().items():
            gauge.labels(camera, figure).set(value)
    gauge = Gauge("inspection_audit_unreadable", "Messages and spools not readable", ["figure"], registry=registry)
    for figure, value in unreadable.items():
        gauge.labels(figure).set(value)
    return registry
