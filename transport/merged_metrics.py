"""Metrics of several processes on one page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families


def merged_metrics(pages: Mapping[str, str]) -> Iterable[Metric]:
    """Return the metrics of several pages, each sample with the label ``process``.

    Parameters
    ----------
    pages
        Text of ``/metrics``, by the value of the label.

    Examples
    --------
    >>> [metric] = merged_metrics({"0": "waiting 1.0\\n", "1": "waiting 2.0\\n"})
    >>> [(sample.labels, sample.value) for sample in metric.samples]
    [({'process': '0'}, 1.0), ({'process': '1'}, 2.0)]
    """
    merged: dict[str, Metric] = {}
    for process, page in pages.items():
        for family in text_string_to_metric_families(page):
            into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                into.add_sample(sample.name, {**sample.labels, "process": process}, sample.value)
    return merged.values()
