"""Protocol for a gate's source of decisions."""

from __future__ import annotations

from typing import Protocol

from actuators.counts import ConsumerCounts
from schemas.records import Decision


class DecisionSource(Protocol):
    """Consumer of decisions, as the gate uses it; `actuators.consumer.DecisionConsumer` is one."""

    @property
    def ready(self) -> bool: ...
    @property
    def connected(self) -> bool: ...
    @property
    def contact_age_s(self) -> float | None: ...
    @property
    def counts(self) -> ConsumerCounts: ...
    def open(self) -> None: ...
    def poll(self, timeout_s: float) -> Decision | None: ...
    def close(self) -> None: ...
