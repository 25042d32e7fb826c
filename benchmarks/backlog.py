"""Number of frames that a topic must contain, so that no contender processes all of them before its window."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders.job import Network
from benchmarks.saturation import BEFORE_S

_MARGIN = 1.3
_CALIBRATION_S = 0.5


def backlog(model: Path, pictures: Sequence[bytes], in_flight: int, seconds: float) -> int:
    """Return the frames for a run of ``seconds`` with ``in_flight`` at a time, from the current rate of one thread."""
    network = Network(model, reduced=True)
    network.score(pictures[0])
    began, count = time.perf_counter(), 0
    while time.perf_counter() < began + _CALIBRATION_S:
        network.score(pictures[count % len(pictures)])
        count += 1
    per_s = _MARGIN * count / (time.perf_counter() - began)
    return round(per_s * in_flight * (seconds + BEFORE_S))
