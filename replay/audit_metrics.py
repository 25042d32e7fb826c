"""The figures of an audit as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge

from replay.audit import CameraAudit


def audit_registry(cameras: Mapping[str, CameraAudit]) -> CollectorRegistry:
    """One gauge, labelled by camera and figure.

    Examples
    --------
    >>> registry = audit_registry({"s/c": CameraAudit(unaccounted=2)})
    >>> registry.get_sample_value("inspection_audit_frames", {"camera": "s/c", "figure": "unaccounted"})
    2.0
    """
    registry = CollectorRegistry()
    gauge = Gauge("inspection_audit_frames", "Frames by what an audit found", ["camera", "figure"], registry=registry)
    for camera, books in cameras.items():
        for figure, value in books.as_dict().items():
            gauge.labels(camera, figure).set(value)
    return registry
