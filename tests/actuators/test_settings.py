"""Numbers of a gate that no line has are refused at its start, in one line."""

from __future__ import annotations

import math
from typing import Any

import pytest

from actuators.settings import GateSettings
from schemas.errors import SettingsError


@pytest.mark.parametrize(
    "values",
    [
        {"belt_ms": math.inf}, {"belt_ms": math.nan}, {"belt_ms": 1e30}, {"belt_ms": 0}, {"decide_by_ms": math.nan},
        {"decide_by_ms": math.inf}, {"heartbeat_ms": math.inf}, {"heartbeat_ms": math.nan}, {"heartbeat_ms": 1e30},
        {"max_lateness_ms": math.inf}, {"max_lateness_ms": math.nan}, {"max_lateness_ms": -1}, {"fault_after": -1},
    ],
    ids=str,
)  # fmt: skip
def test_a_gate_with_such_a_time_would_never_act(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        GateSettings(**{"belt_ms": 800.0, **values})
