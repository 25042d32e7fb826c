"""JSON form of the results."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np


def as_json(value: Any) -> Any:
    """Convert a result for `json.dumps`: records become objects, arrays become lists, non-finite numbers become null.

    Examples
    --------
    >>> from replay.analysis.results import Quantiles
    >>> as_json(Quantiles(count=0, p50_ms=float("nan"), p95_ms=None, p99_ms=1.5, max_ms=np.float64(2)))
    {'count': 0, 'p50_ms': None, 'p95_ms': None, 'p99_ms': 1.5, 'max_ms': 2.0}
    >>> as_json(np.array([1.0, np.nan, np.inf]))
    [1.0, None, None]
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            return [number if math.isfinite(number) else None for number in value.tolist()]
        return as_json(value.tolist())
    if isinstance(value, np.generic):
        return as_json(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    return value
