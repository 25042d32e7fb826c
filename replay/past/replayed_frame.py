"""Recorded frame with its recorded decision, and the decisions of other models or rules."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.records import Decision
from transport.stored_message import MessagePosition

#: Name of the decider that ran on the line when the frames came.
RECORDED = "recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedFrame:
    """Facts about one selected frame; it has at least one decision.

    Parameters
    ----------
    position
        Position of the frame, which may have been deleted since.
    timestamp_us
        Timestamp of its message, UTC µs.
    recorded
        Decision of the line on it; None if there is no decision. Of several decisions on this message an inspection
        wins over other results; among equals the first one wins.
    replayed
        One decision for each variant of the run, in its order; empty if nothing was inspected again.
    """

    position: MessagePosition
    timestamp_us: int
    recorded: Decision | None = None
    replayed: tuple[Decision, ...] = ()

    def __post_init__(self) -> None:
        if self.recorded is None and not self.replayed:
            raise ValueError("a frame without any decision says nothing")

    @property
    def identity(self) -> Decision:
        """One of its decisions, for the facts that all of them share: the identity of the frame."""
        return self.recorded if self.recorded is not None else self.replayed[0]
