"""Percentiles of latencies, for the live view and the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentiles(values_ms: Sequence[float]) -> dict[str, float | None]:
    """Return p50, p95, p99 and the maximum in milliseconds; None for each of them if there are no values.

    Examples
    --------
    >>> percentiles([1.0, 2.0, 3.0])["p50"]
    2.0
    """
    if not values_ms:
        return dict.fromkeys(("p50", "p95", "p99", "max"))
    p50, p95, p99, most = np.percentile(values_ms, [50, 95, 99, 100]).tolist()
    return {"p50": round(p50, 2), "p95": round(p95, 2), "p99": round(p99, 2), "max": round(most, 2)}
