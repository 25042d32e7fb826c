"""Gate without hardware: a belt with a length and a speed, and a journal of the gate's actions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from actuators.actuator import Instruction
from actuators.journal import Journal
from schemas.clock import Clock, SystemClock
from schemas.errors import SettingsError
from schemas.records import Action


@dataclass(frozen=True, slots=True)
class Belt:
    """Distance from the camera to the gate, in millimetres, and speed, in millimetres per second.

    Raises
    ------
    SettingsError
        If one of them is not positive.

    Examples
    --------
    >>> Belt().delay_ms
    800.0
    """

    distance_mm: float = 400.0
    speed_mm_s: float = 500.0

    def __post_init__(self) -> None:
        if not (self.distance_mm > 0 and self.speed_mm_s > 0):
            raise SettingsError(f"a belt of {self.distance_mm} mm at {self.speed_mm_s} mm/s does not bring parts")

    @property
    def delay_ms(self) -> float:
        """Time from the camera to the gate."""
        return self.distance_mm / self.speed_mm_s * 1e3


class SimulatedGate:
    """Driver without hardware: it acts at once and records each action.

    Parameters
    ----------
    journal
        File that gets one JSON line for each part; None: no file.

    Examples
    --------
    >>> gate = SimulatedGate()
    >>> gate.open(); gate.close()
    >>> sum(gate.acted.values())
    0
    """

    def __init__(self, journal: str | Path | None = None, clock: Clock | None = None) -> None:
        self.journal = None if journal is None else Journal(Path(journal), clock or SystemClock())
        self.acted: Counter[Action] = Counter()
        #: Reason why the line is stopped; None while it moves.
        self.stopped: str | None = None

    def open(self) -> None:
        """Open the journal."""
        if self.journal is not None:
            self.journal.open()

    def act(self, instruction: Instruction) -> None:
        """Count and record the action."""
        self.acted[instruction.action] += 1
        if self.journal is not None:
            self.journal.write(instruction)

    def stop_line(self, reason: str) -> None:
        """Record that the line is stopped; parts still come, as on a belt that runs out."""
        self.stopped = reason

    def release_line(self) -> None:
        """Record that the line may move again."""
        self.stopped = None

    def close(self) -> None:
        """Close the journal."""
        if self.journal is not None:
            self.journal.close()
