"""One pass of one part: what the tracker knows of it."""

from __future__ import annotations

from enum import StrEnum

from actuators.schedule import ExpectedPart
from schemas.records import Action, Decision

#: Station, camera, part: what one camera says never mixes with another's.
Key = tuple[str, str, str]

#: Ids remembered of one part; a part with more is in conflict already or being spammed with equals.
_MAX_SEEN = 8


class Outcome(StrEnum):
    """What became of an offered decision."""

    ARMED = "armed"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    LATE = "late"
    UNKNOWN = "unknown"
    REFUSED_SIMULATED = "refused-simulated"
    REFUSED_INVALID = "refused-invalid"


class Passing:
    """A part between its capture and being forgotten."""

    __slots__ = (
        "_seen",
        "action",
        "armed_at_us",
        "decision",
        "is_acted",
        "is_contradicted",
        "key",
        "part",
        "serial",
        "was_late",
    )

    def __init__(self, part: ExpectedPart, key: Key, serial: int) -> None:
        self.part = part
        self.key = key
        self.serial = serial
        self.action: Action | None = None
        self.decision: Decision | None = None
        self.armed_at_us: int | None = None
        self.is_contradicted = False
        self.was_late = False
        self.is_acted = False
        self._seen: set[tuple[str, Action]] = set()

    def judge(self, decision: Decision, received_at_s: float, received_at_us: int) -> Outcome:
        """What a decision that came at that moment (monotonic s, UTC µs) means for the part."""
        # One id with two actions is no repetition but a contradiction.
        answer = (decision.decision_id, decision.action)
        if answer in self._seen:
            return Outcome.DUPLICATE
        if len(self._seen) < _MAX_SEEN:
            self._seen.add(answer)
        if self.is_acted:
            return Outcome.LATE
        if self.action is not None:
            if self.action is decision.action:
                return Outcome.DUPLICATE  # another decision that says the same
            self.is_contradicted = True
            return Outcome.CONFLICT
        if received_at_s > min(self.part.decide_by_s, self.part.act_at_s):
            self.was_late = True
            return Outcome.LATE
        self.action, self.decision, self.armed_at_us = decision.action, decision, received_at_us
        return Outcome.ARMED

    def close(self) -> None:
        """Acted on: from here only ids are kept."""
        self.is_acted = True
        self.decision = None
