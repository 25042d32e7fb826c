"""Metrics of a worker: they stay small, whatever names the frames carry."""

from __future__ import annotations

import dataclasses

from prometheus_client import generate_latest

from schemas import Decision
from stream_processors.worker.frame_task import ProcessingResult
from stream_processors.worker.metrics import WorkerMetrics
from tests.support import records as examples
from transport.metric_labels import MOST_NAMES

DECISION = next(each for each in examples.ALL if isinstance(each, Decision))


def record(metrics: WorkerMetrics, station: str) -> None:
    metrics.record(ProcessingResult(dataclasses.replace(DECISION, station=station), b"", shed="deadline"), 0.001)


def test_invented_stations_do_not_grow_the_metrics() -> None:
    metrics = WorkerMetrics()
    for number in range(5_000):
        record(metrics, f"station-{number}")
    text = generate_latest(metrics.registry).decode()
    assert text.count("inspection_shed_total{") == MOST_NAMES + 1
    labels = {"camera": "other", "action": DECISION.action.value}
    assert metrics.registry.get_sample_value("inspection_decisions_total", labels) == 5_000 - MOST_NAMES
    # The cache of label look-ups is bounded by the labels, not by the names.
    assert len(metrics._known) < 3 * MOST_NAMES


def test_a_long_name_is_cut() -> None:
    metrics = WorkerMetrics()
    record(metrics, "s" * 500_000)
    assert len(generate_latest(metrics.registry)) < 20_000


def test_a_partition_that_another_worker_has_taken_over_shows_no_lag() -> None:
    metrics = WorkerMetrics()
    metrics.show_lag({0: 7, 1: 3})
    metrics.show_lag({1: 2, 2: 0})
    found = [metrics.registry.get_sample_value("inspection_lag", {"partition": str(number)}) for number in range(3)]
    assert found == [None, 2, 0]
