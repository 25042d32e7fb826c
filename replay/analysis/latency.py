"""Latency of the recorded decisions, and counts of the late ones."""

from __future__ import annotations

import numpy as np

from replay.analysis.arrays import Floats, Integers
from replay.analysis.results import Latency, LatencyOf, Quantiles
from replay.analysis.table import Table
from replay.analysis.view import codes, equal
from replay.past.replayed_frame import RECORDED
from schemas.records import ResultState

STAGES = ("queue", "decode", "infer")


def latency_of(table: Table) -> Latency:
    """Return the latency of a stretch, for all cameras together and for each camera."""
    group, cameras = codes(table["camera"])
    everything = _latency("all", table, np.arange(len(table)))
    rows = [np.flatnonzero(group == number) for number in range(len(cameras))]
    each = [_latency(camera or "", table, of) for camera, of in zip(cameras, rows, strict=True)]
    return Latency(all=everything, by_camera=tuple(sorted(each, key=lambda one: one.camera)))


def _latency(camera: str, table: Table, rows: Integers) -> LatencyOf:
    is_late = table[f"{RECORDED}.is_late"][rows]
    shed = equal(table[f"{RECORDED}.result_state"][rows], ResultState.ABORTED.value)
    late = (is_late == 1) & ~shed
    return LatencyOf(
        camera=camera,
        total=quantiles(table[f"{RECORDED}.latency_ms"][rows]),
        stages={stage: quantiles(table[f"{RECORDED}.{stage}_ms"][rows]) for stage in STAGES},
        with_deadline=int((is_late >= 0).sum()),
        late=int(late.sum()),
        shed=int(shed.sum()),
        missed=int((late | shed).sum()),
    )


def quantiles(values: Floats) -> Quantiles:
    """Return the quantiles of the finite values.

    Examples
    --------
    >>> quantiles(np.array([1.0, 3.0, np.nan])).p50_ms, quantiles(np.array([])).p50_ms
    (2.0, None)
    """
    there = values[np.isfinite(values)]
    if not len(there):
        return Quantiles(count=0, p50_ms=None, p95_ms=None, p99_ms=None, max_ms=None)
    p50, p95, p99, most = (float(value) for value in np.quantile(there, [0.5, 0.95, 0.99, 1.0]))
    return Quantiles(count=len(there), p50_ms=p50, p95_ms=p95, p99_ms=p99, max_ms=most)
