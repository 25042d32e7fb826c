"""Counts of the cameras of a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from producers.stats import PublisherStats


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """Counts of the cameras of a gateway by name, as `inspection audit --edge-report` reads them; starts are UTC µs."""

    cameras: dict[str, PublisherStats]
    started_at_us: dict[str, int]

    @classmethod
    def of(cls, reports: Sequence[GatewayReport]) -> GatewayReport:
        """Return one report on the cameras of several processes, which have names of their own."""
        cameras = {name: stats for report in reports for name, stats in report.cameras.items()}
        return cls(cameras, {name: at_us for report in reports for name, at_us in report.started_at_us.items()})

    def as_dict(self) -> dict[str, Any]:
        """Return one object for JSON."""
        return {"cameras": [self._row(name, stats) for name, stats in sorted(self.cameras.items())]}

    def as_lines(self) -> list[str]:
        """Return a line for each camera."""
        return [
            f"{name}: {stats.captured} captured, {stats.published} published, {stats.dropped} dropped, "
            f"{stats.failed} failed"
            for name, stats in sorted(self.cameras.items())
        ]

    def _row(self, name: str, stats: PublisherStats) -> dict[str, Any]:
        return {
            "name": name,
            "started_at_us": self.started_at_us[name],
            "captured": stats.captured,
            "published": stats.published,
            "dropped": stats.dropped,
            "failed": stats.failed,
            "spooled": 0,
            "dropped_by_reason": stats.dropped_by_reason,
            "failed_by_reason": stats.failed_by_reason,
        }
