"""One frame of the past: what was decided on it then, and what other models or rules say of it now."""

from __future__ import annotations

from dataclasses import dataclass

from replay.stored import Place
from schemas.records import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedFrame:
    """What is known of one frame that was selected; at least one of its decisions is there.

    Parameters
    ----------
    place
        Where the frame lies, or lay.
    timestamp_us
        Of its message, UTC.
    recorded
        The decision that the line made on it, None if there is none. Of several on this very message an inspection
        counts before none, and the first before later ones.
    replayed
        One decision for each variant of the run, in its order; empty where nothing was inspected again.
    """

    place: Place
    timestamp_us: int
    recorded: Decision | None = None
    replayed: tuple[Decision, ...] = ()

    def __post_init__(self) -> None:
        if self.recorded is None and not self.replayed:
            raise ValueError("a frame without any decision says nothing")

    @property
    def any(self) -> Decision:
        """One of its decisions, for what all of them say: the identity of the frame."""
        return self.recorded if self.recorded is not None else self.replayed[0]
