"""Settings of a gate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import SettingsError
from schemas.records import Action

_SHORTEST_HEARTBEAT_MS = 1000.0
#: Longest time of a setting: a gate with an endless belt would never act.
_LONGEST_MS = 24 * 3600 * 1000.0


class OnDrift(StrEnum):
    """Consequence of an open episode of drift for the parts of its camera, see `actuators.drift_policy`."""

    NOTHING = "nothing"
    REVIEW = "review"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Times and fail-safe of one gate.

    Parameters
    ----------
    belt_ms
        Time from the camera to the gate.
    decide_by_ms
        Time from the capture to the last moment at which a decision counts; None: the deadline of each frame, and
        ``belt_ms`` for frames without one.
    failsafe
        Action without a decision: REJECT or REVIEW.
    fault_after
        Parts in a row without a usable decision after which the gate goes into FAULT: it accepts nothing until a
        person resets it; 0: never.
    heartbeat_ms
        Silence of the broker, or time without a decision while parts pass, after which the gate is DEGRADED; 0: never.
    on_drift
        Behaviour while a camera drifts: nothing, accepted parts go to REVIEW, or the line is stopped (FAULT).
    no_part_ids
        Texts that a device sends if it has read no part id, such as ``NOREAD``: such a part is known by its frame. An
        empty text always counts as one.
    max_lateness_ms
        A part that passed the gate longer ago than this gets the fail-safe, whatever the decision says, because the
        next part may be in front of the gate: after the process was suspended, or after a slow call of the driver.
        0: no limit.
    simulated
        Act on decisions of a replay, and on nothing else; a part counts as captured when its trigger comes.

    Raises
    ------
    SettingsError
        If a time is impossible, the deadline is after the arrival, or the fail-safe is ACCEPT.
    """

    belt_ms: float = 800.0
    decide_by_ms: float | None = None
    failsafe: Action = Action.REJECT
    fault_after: int = 10
    heartbeat_ms: float = 2000.0
    on_drift: OnDrift = OnDrift.NOTHING
    simulated: bool = False
    no_part_ids: tuple[str, ...] = ()
    max_lateness_ms: float = 500.0

    def __post_init__(self) -> None:
        if not 0 < self.belt_ms <= _LONGEST_MS:
            raise SettingsError(f"belt_ms is {self.belt_ms:g}; it must be more than 0, and at most a day")
        if self.decide_by_ms is not None and not 0 < self.decide_by_ms <= self.belt_ms:
            raise SettingsError(
                f"decide_by_ms is {self.decide_by_ms:g}; a decision must come after the capture and before the part"
                f" is at the gate, {self.belt_ms:g} ms later"
            )
        if self.failsafe is Action.ACCEPT:
            raise SettingsError("the fail-safe action is REJECT or REVIEW: an unknown part is never accepted")
        if not 0 <= self.max_lateness_ms <= _LONGEST_MS:
            raise SettingsError(f"max_lateness_ms is {self.max_lateness_ms:g}; it must be 0 or more, and at most a day")
        if self.fault_after < 0:
            raise SettingsError(f"fault_after is {self.fault_after}; it must be 0 or more")
        if not (self.heartbeat_ms == 0 or _SHORTEST_HEARTBEAT_MS <= self.heartbeat_ms <= _LONGEST_MS):
            raise SettingsError(
                f"heartbeat_ms is {self.heartbeat_ms:g}; it must be 0, or {_SHORTEST_HEARTBEAT_MS:g} to a day:"
                " an idle broker is heard of every half second"
            )
