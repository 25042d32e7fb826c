"""What tracker, consumer and gate have counted: frozen snapshots."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerCounts:
    """A snapshot; ``actuated = accepted + rejected + review``, and ``failsafe`` of these had no decision in time.

    Parameters
    ----------
    late
        Decisions that came after their deadline or after the act.
    conflicts
        Decisions that contradicted an earlier one of the same part.
    duplicates
        Decisions that said the same again.
    unknown
        Decisions received before, or without, their trigger.
    refused_simulated, refused_invalid
        Decisions of a replay; ACCEPTs of inspections that did not complete.
    repeated_triggers, overflow
        Triggers of a part already tracked; parts the gate had no room for.
    consecutive_failsafe
        Fail-safes in a row, up to now.
    """

    actuated: int = 0
    accepted: int = 0
    rejected: int = 0
    review: int = 0
    failsafe: int = 0
    late: int = 0
    conflicts: int = 0
    duplicates: int = 0
    unknown: int = 0
    refused_simulated: int = 0
    refused_invalid: int = 0
    repeated_triggers: int = 0
    overflow: int = 0
    consecutive_failsafe: int = 0

    def as_dict(self) -> dict[str, int]:
        """Names and numbers."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class ConsumerCounts:
    """Messages by what became of them, and errors of the connection."""

    delivered: int = 0
    duplicates: int = 0
    undecodable: int = 0
    skipped_old: int = 0
    other_station: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class GateStats:
    """A snapshot: what the tracker and the consumer counted, failed acts, parts on the belt, the connection."""

    tracker: TrackerCounts
    consumer: ConsumerCounts
    act_errors: int
    pending: int
    connected: bool
