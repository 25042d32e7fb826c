"""Episodes of drift as a test tells a gate of them, and parts that pass it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from actuators import (
    DriftStats,
    GateSettings,
    InstructionReason,
    OnDrift,
)
from actuators.open_episodes import CameraKey, OpenEpisode, OpenEpisodes
from schemas import Action, DriftEvent, EpisodeState
from schemas.clock import ManualClock
from tests.support.gate_records import make_decision
from tests.support.gates import SteppedGate
from tests.support.records import DRIFT_EVENT

OPENED, UPDATED, CLOSED, ACKNOWLEDGED = EpisodeState


def event(episode: str = "e", state: EpisodeState = OPENED, camera: str = "cam", **changes: object) -> DriftEvent:
    closed = {"closed_at_us": 2} if state is CLOSED else {}
    by = {"acknowledged_by": "eva", "note": "lamp"} if state is ACKNOWLEDGED else {}
    values = {"station": "s", "camera_id": camera, "reason": "it got\ndarker", **closed, **by, **changes}
    return dataclasses.replace(DRIFT_EVENT, episode_id=episode, event_id=f"{episode}-{state}", state=state, **values)


class Told:
    """A source of drift that a test tells what is open."""

    def __init__(self, *events: DriftEvent) -> None:
        self._known = OpenEpisodes()
        self.stats = DriftStats()
        self.opened = self.closed = 0
        self.tell(*events)

    def tell(self, *events: DriftEvent) -> None:
        for said in events:
            self._known.take(said)

    @property
    def episodes(self) -> Mapping[CameraKey, tuple[OpenEpisode, ...]]:
        return self._known.by_camera

    def open(self) -> None:
        self.opened += 1

    def close(self) -> None:
        self.closed += 1


def make_gate(on_drift: OnDrift, drift: Told, directory: Path | None = None, **more: object) -> SteppedGate:
    clock = ManualClock(utc_us=10**15, monotonic_s=1.0)
    return SteppedGate(clock, GateSettings(belt_ms=100, on_drift=on_drift, **more), directory, drift)  # type: ignore[arg-type]


def pass_part(
    gate: SteppedGate, name: str, *actions: Action, **decision: object
) -> tuple[Action, InstructionReason, str | None]:
    captured = gate.clock.utc_us()
    gate.expect(name, captured)
    for number, action in enumerate(actions):
        gate.offer(make_decision(name, action, model=str(number), captured_at_us=captured, **decision))
    gate.advance(0.101)
    instruction = gate.driver.instructions[-1]
    assert instruction.part_key == name
    return instruction.action, instruction.reason, instruction.episode_id


ACCEPT, REJECT, REVIEW = Action.ACCEPT, Action.REJECT, Action.REVIEW
