"""What `inspection audit` says: as text, as JSON, as metrics, and whether the books close."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.audit import Audit, Place
from replay.audit_books import CameraAudit, total
from schemas.errors import SettingsError

#: Always shown; other figures only where they are not 0.
_ALWAYS = ("captured", "frames", "gaps", "decided", "dead_lettered", "duplicates", "conflicts", "unaccounted")
#: Figures that must be 0, and how the last line names them.
_FAULTS = {
    "unaccounted": "unaccounted",
    "conflicts": "conflicts",
    "unexplained_gaps": "unexplained gaps",
    "surplus_drops": "counted drops without a gap",
    "late_accepts": "late accepts",
}
_PLACES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Books of all cameras, and what could not be read.

    Parameters
    ----------
    late_ok
        Whether ACCEPTs after the deadline are no fault: stations that inspect everything have them.
    """

    audit: Audit
    cameras: dict[str, CameraAudit]
    unreadable_spools: tuple[str, ...] = ()
    late_ok: bool = False

    @property
    def faults(self) -> dict[str, int]:
        """What keeps the books from closing, by name; empty if nothing does."""
        sums = total(self.cameras).as_dict()
        found = {
            name: sums[figure] for figure, name in _FAULTS.items() if not (self.late_ok and name == "late accepts")
        }
        found["unreadable messages without a dead letter"] = self.audit.unreadable_unaccounted
        found["unreadable spools"] = len(self.unreadable_spools)
        return {name: count for name, count in found.items() if count}

    @property
    def unreadable(self) -> dict[str, int]:
        """Messages and spools that are not what they should be."""
        return {
            "unreadable_frames": self.audit.unreadable,
            "unreadable_frames_unaccounted": self.audit.unreadable_unaccounted,
            "unreadable_decisions": len(self.audit.unreadable_decisions),
            "unreadable_dead_letters": len(self.audit.unreadable_dead_letters),
            "unreadable_spools": len(self.unreadable_spools),
        }

    def as_dict(self) -> dict[str, Any]:
        """One object for ``json.dumps``."""
        sums = total(self.cameras)
        return {
            "cameras": {name: books.as_dict() for name, books in self.cameras.items()},
            "total": sums.as_dict(),
            "unexplained_gaps": sums.unexplained_gaps,
            **self.unreadable,
            "ok": not self.faults,
        }

    def as_lines(self) -> list[str]:
        """A line a camera, and one for each kind of thing that could not be read."""
        rows = {**self.cameras, "total": total(self.cameras)} if len(self.cameras) > 1 else self.cameras
        lines = [f"{name}: {_figures(books)}" for name, books in rows.items()]
        for what, places in (
            ("frames", self.audit.unreadable_places),
            ("decisions", self.audit.unreadable_decisions),
            ("dead letters", self.audit.unreadable_dead_letters),
        ):
            if places:
                lines.append(f"unreadable {what}: {len(places)} ({_named(places)})")
        return [*lines, *(f"unreadable spool: {line}" for line in self.unreadable_spools)]

    def write_metrics(self, path: Path) -> None:
        """Write all figures for node_exporter's textfile collector.

        Raises
        ------
        SettingsError
            If the file cannot be written.
        """
        from prometheus_client import write_to_textfile

        from replay.audit_metrics import audit_registry

        try:
            write_to_textfile(str(path), audit_registry(self.cameras, self.unreadable))
        except OSError as error:
            raise SettingsError(f"--metrics {path}: {error.strerror}") from error


def _figures(books: CameraAudit) -> str:
    figures = books.as_dict().items()
    return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in figures if value or name in _ALWAYS)


def _named(places: list[Place]) -> str:
    named = [f"{topic}/{partition}/{offset}" for topic, partition, offset in places[:_PLACES_SHOWN]]
    return ", ".join([*named, *(["..."] if len(places) > _PLACES_SHOWN else [])])
