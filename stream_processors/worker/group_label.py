"""Label ``group`` on all metrics of a worker: two groups that answer the same frames would double each sum."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector


def with_group(registry: CollectorRegistry, group: str) -> CollectorRegistry:
    """Return a registry with the metrics of another one, each sample with the label ``group``.

    Examples
    --------
    >>> from prometheus_client import Counter
    >>> inner = CollectorRegistry()
    >>> Counter("frames", "", registry=inner).inc()
    >>> with_group(inner, "b").get_sample_value("frames_total", {"group": "b"})
    1.0
    """
    outer = CollectorRegistry()
    outer.register(_Labelled(registry, group))
    return outer


class _Labelled(Collector):
    def __init__(self, registry: CollectorRegistry, group: str) -> None:
        self._registry, self._group = registry, group

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            labelled = Metric(family.name, family.documentation, family.type)
            for sample in family.samples:
                labelled.add_sample(sample.name, {**sample.labels, "group": self._group}, sample.value)
            yield labelled
