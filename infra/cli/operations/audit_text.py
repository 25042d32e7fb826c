"""Report of `inspection audit` as text, as JSON and as metrics, with the faults that were found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operations.audit.accounts import AnswerPosition, Audit
from operations.audit.counts import CameraCounts, total
from schemas.errors import SettingsError

#: Figures that are always shown; the others are shown only if they are not 0.
_ALWAYS = ("captured", "frames", "gaps", "decided", "dead_lettered", "duplicates", "conflicts", "unaccounted")
#: Figures that must be 0, with their names in the last line.
_FAULTS = {
    "unaccounted": "unaccounted",
    "conflicts": "conflicts",
    "unexplained_gaps": "unexplained gaps",
    "surplus_drops": "counted drops without a gap",
    "late_accepts": "late accepts",
}
_POSITIONS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Counts of all cameras, and the messages and spools that could not be read.

    Parameters
    ----------
    late_ok
        True: ACCEPTs after the deadline are no fault. Stations that inspect everything have them.
    """

    audit: Audit
    cameras: dict[str, CameraCounts]
    unreadable_spools: tuple[str, ...] = ()
    late_ok: bool = False

    @property
    def faults(self) -> dict[str, int]:
        """Counts of faults, by name; empty if the audit found no fault."""
        sums = total(self.cameras).as_dict()
        found = {
            name: sums[figure] for figure, name in _FAULTS.items() if not (self.late_ok and name == "late accepts")
        }
        found["unreadable messages without a dead letter"] = self.audit.unreadable_unaccounted
        found["unreadable spools"] = len(self.unreadable_spools)
        return {name: count for name, count in found.items() if count}

    @property
    def unreadable(self) -> dict[str, int]:
        """Counts of messages and spools that could not be read."""
        return {
            "unreadable_frames": self.audit.unreadable,
            "unreadable_frames_unaccounted": self.audit.unreadable_unaccounted,
            "unreadable_decisions": len(self.audit.unreadable_decisions),
            "unreadable_dead_letters": len(self.audit.unreadable_dead_letters),
            "unreadable_spools": len(self.unreadable_spools),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return one object for ``json.dumps``."""
        sums = total(self.cameras)
        return {
            "cameras": {name: counts.as_dict() for name, counts in self.cameras.items()},
            "total": sums.as_dict(),
            "unexplained_gaps": sums.unexplained_gaps,
            **self.unreadable,
            "first_unreadable": {
                **{f"{what}s".replace(" ", "_"): _named(positions) for what, positions in self._unreadable_positions},
                "spools": list(self.unreadable_spools),
            },
            "faults": self.faults,
            "ok": not self.faults,
        }

    def as_lines(self) -> list[str]:
        """Return one line for each camera, and lines for unreadable frames, decisions, dead letters and spools."""
        rows = {**self.cameras, "total": total(self.cameras)} if len(self.cameras) > 1 else self.cameras
        lines = [f"{name}: {_figures(counts)}" for name, counts in rows.items()]
        for what, positions in self._unreadable_positions:
            if positions:
                more = ["..."] if len(positions) > _POSITIONS_SHOWN else []
                lines.append(f"unreadable {what}s: {len(positions)} ({', '.join(_named(positions) + more)})")
        return [*lines, *(f"unreadable spool: {line}" for line in self.unreadable_spools)]

    @property
    def _unreadable_positions(self) -> tuple[tuple[str, list[AnswerPosition]], ...]:
        return (
            ("frame", self.audit.unreadable_positions),
            ("decision", self.audit.unreadable_decisions),
            ("dead letter", self.audit.unreadable_dead_letters),
        )

    def write_metrics(self, path: Path) -> None:
        """Write all figures for node_exporter's textfile collector.

        Raises
        ------
        SettingsError
            If the file cannot be written.
        """
        from prometheus_client import write_to_textfile

        from operations.audit.metrics import audit_registry

        try:
            write_to_textfile(str(path), audit_registry(self.cameras, self.unreadable))
        except OSError as error:
            raise SettingsError(f"--metrics {path}: {error.strerror}") from error


def _figures(counts: CameraCounts) -> str:
    figures = counts.as_dict().items()
    return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in figures if value or name in _ALWAYS)


def _named(positions: list[AnswerPosition]) -> list[str]:
    """Return the first positions as text."""
    return [f"{topic}/{partition}/{offset}" for topic, partition, offset in positions[:_POSITIONS_SHOWN]]
