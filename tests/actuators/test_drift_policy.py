"""What a gate does while a camera drifts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actuators import (
    GateRunner,
    GateSettings,
    GateState,
    InstructionReason,
    OnDrift,
    PartTracker,
)
from actuators.fault_reset import standing
from actuators.metrics import GateMetrics
from actuators.open_episodes import ANY_CAMERA, OpenEpisodes
from actuators.testing import ListDecisions, RecordingActuator
from schemas import Action, DriftEvent, DriftType, EpisodeState, ResultState
from schemas.clock import ManualClock
from schemas.errors import SettingsError
from schemas.records import WARM_UP
from tests.support.drifting_gates import (
    ACCEPT,
    ACKNOWLEDGED,
    CLOSED,
    OPENED,
    REJECT,
    REVIEW,
    UPDATED,
    Told,
    event,
    make_gate,
    pass_part,
)
from tests.support.gate_records import make_decision, make_part

#: name: what is said of drift, whether the camera's accepted parts are diverted then.
SAID: dict[str, tuple[list[DriftEvent], bool]] = {
    "nothing": ([], False),
    "opened": ([event()], True),
    "opened twice": ([event(), event()], True),
    "an update alone": ([event(state=UPDATED)], True),
    "closed": ([event(), event(state=CLOSED)], False),
    "closed before it was opened": ([event(state=CLOSED), event(), event(state=UPDATED)], False),
    "closed, of two one": ([event("a"), event("b"), event("a", CLOSED)], True),
    "acknowledged": ([event(), event(state=ACKNOWLEDGED)], False),
    "acknowledged, then updated": ([event(), event(state=ACKNOWLEDGED), event(state=UPDATED)], False),
    "acknowledged by nobody": ([event(), event(state=ACKNOWLEDGED, acknowledged_by=" ")], True),
    "another camera": ([event(camera="other")], False),
    "another station": ([event(station="t")], False),
    "of a replay": ([event(is_simulated=True)], False),
    "closed by a replay": ([event(), event(state=CLOSED, is_simulated=True)], True),
}


@pytest.mark.parametrize("name", SAID)
def test_an_open_episode_diverts_what_would_be_accepted(name: str) -> None:
    events, is_diverted = SAID[name]
    gate = make_gate(OnDrift.REVIEW, Told(*events))
    if is_diverted:
        assert pass_part(gate, "a", ACCEPT)[:2] == (REVIEW, InstructionReason.DRIFT_REVIEW)
    else:
        assert pass_part(gate, "a", ACCEPT) == (ACCEPT, InstructionReason.DECIDED, None)
    assert gate.runner.stats.tracker.drift_review == is_diverted


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ([REJECT], (REJECT, InstructionReason.DECIDED)),
        ([REVIEW], (REVIEW, InstructionReason.DECIDED)),
        ([ACCEPT, REJECT], (REJECT, InstructionReason.CONFLICT)),
        ([], (REJECT, InstructionReason.FAILSAFE_MISSING)),
    ],
)
def test_nothing_is_weakened(actions: list[Action], expected: tuple[Action, InstructionReason]) -> None:
    gate = make_gate(OnDrift.REVIEW, Told(event()))
    assert pass_part(gate, "a", *actions) == (*expected, None)
    assert gate.runner.stats.tracker.drift_review == 0


def test_what_is_open_at_the_act_counts_and_diverted_parts_lead_to_no_fault() -> None:
    drift = Told()
    gate = make_gate(OnDrift.REVIEW, drift, fault_after=2)
    captured = gate.clock.utc_us()
    gate.expect("a", captured)
    gate.offer(make_decision("a", captured_at_us=captured))
    drift.tell(event())  # after the decision, before the part is at the gate
    gate.advance(0.101)
    instruction = gate.driver.instructions[-1]
    assert (instruction.reason, instruction.episode_id) == (InstructionReason.DRIFT_REVIEW, "e")
    assert instruction.decision is not None  # the journal says what was decided
    for name in "bcd":
        assert pass_part(gate, name, ACCEPT) == (REVIEW, InstructionReason.DRIFT_REVIEW, "e")
    drift.tell(event(state=ACKNOWLEDGED))
    assert pass_part(gate, "e", ACCEPT) == (ACCEPT, InstructionReason.DECIDED, None)
    stats = gate.runner.stats
    assert (stats.tracker.drift_review, stats.tracker.decided, stats.tracker.review, stats.faults) == (4, 1, 4, 0)
    parts = {"why": "drift-review"}
    metrics = GateMetrics(lambda: stats).registry
    assert metrics.get_sample_value("inspection_gate_parts_total", parts) == 4


def test_nothing_is_what_happens_by_default() -> None:
    drift = Told(event())
    gate = make_gate(OnDrift.NOTHING, drift)
    assert pass_part(gate, "a", ACCEPT) == (ACCEPT, InstructionReason.DECIDED, None)
    assert (drift.opened, gate.runner.stats.drift, gate.driver.line_calls) == (0, None, [])
    metrics = GateMetrics(lambda: gate.runner.stats).registry
    assert metrics.get_sample_value("inspection_gate_drift_connected") is None


def test_consequences_need_a_watch() -> None:
    with pytest.raises(SettingsError, match="needs a DriftWatch"):
        GateRunner(ListDecisions(), RecordingActuator(), GateSettings(on_drift=OnDrift.STOP))


def test_an_episode_stops_the_line_until_a_person_resets_it() -> None:
    drift = Told()
    gate = make_gate(OnDrift.STOP, drift)
    assert pass_part(gate, "a", ACCEPT)[0] is ACCEPT
    drift.tell(event())
    gate.turn()
    assert gate.driver.line_calls == ["stop_line"]
    fault = gate.runner.stats.fault
    assert fault is not None
    assert (fault.reason, fault.in_a_row) == ("drift on s/cam: it got darker (episode e)", 0)
    assert pass_part(gate, "b", ACCEPT) == (REJECT, InstructionReason.FAILSAFE_FAULT, None)
    # Neither its end nor an acknowledgement starts the line: FAULT latches.
    drift.tell(event(state=CLOSED), event(state=ACKNOWLEDGED))
    assert pass_part(gate, "c", ACCEPT)[1] is InstructionReason.FAILSAFE_FAULT
    assert gate.runner.reset("eva", "lamp replaced")
    assert pass_part(gate, "d", ACCEPT) == (ACCEPT, InstructionReason.DECIDED, None)
    assert gate.driver.line_calls == ["stop_line", "release_line"]
    assert gate.runner.stats.faults == 1


def test_each_episode_stops_it_once(caplog: pytest.LogCaptureFixture) -> None:
    drift = Told(event("a"), event("b", camera="other"), event("c", ACKNOWLEDGED))
    gate = make_gate(OnDrift.STOP, drift)
    reasons = []
    for _ in range(5):
        fault = gate.runner.stats.fault
        if fault is None:
            break
        reasons.append(fault.reason.removeprefix("drift on "))
        gate.runner.reset("eva", "looked")
        gate.turn()
        gate.turn()
    assert reasons == ["s/cam: it got darker (episode a)", "s/other: it got darker (episode b)"]
    # The line did not move in between, and for each a person was told why it stands.
    assert gate.driver.line_calls == ["stop_line", "stop_line", "release_line"]
    assert [text.partition(": ")[2][:15] for text in caplog.messages if text.startswith("FAULT:")] == [
        "drift on s/cam:",
        "drift on s/othe",
    ]
    assert pass_part(gate, "p", ACCEPT)[0] is ACCEPT
    drift.tell(event("a", UPDATED), event("d"))
    gate.turn()
    assert "episode d" in str(gate.runner.stats.fault)


@pytest.mark.parametrize("changes", [{"camera": "invented"}, {"started_at_us": 7}])
def test_the_id_of_another_episode_hides_no_drift(changes: dict[str, Any]) -> None:
    drift = Told(event("a", **changes))
    gate = make_gate(OnDrift.STOP, drift)
    gate.turn()
    drift.tell(event("a"))
    gate.turn()
    gate.runner.reset("eva", "there is no such episode")
    gate.turn()
    assert str(gate.runner.stats.fault).count("drift on s/cam")


def test_a_fault_for_another_reason_hides_no_drift() -> None:
    drift = Told()
    gate = make_gate(OnDrift.STOP, drift, fault_after=1)
    pass_part(gate, "a")
    drift.tell(event())
    gate.turn()
    assert "1 part in a row" in str(gate.runner.stats.fault)
    gate.runner.reset("eva", "worker restarted")
    gate.turn()
    assert "episode e" in str(gate.runner.stats.fault)


def test_a_gate_killed_in_the_fault_of_an_episode_needs_one_reset(tmp_path: Path) -> None:
    drift = Told(event())
    make_gate(OnDrift.STOP, drift, tmp_path).kill()
    assert "episode e" in str(standing(tmp_path).fault)
    gate = make_gate(OnDrift.STOP, drift, tmp_path)
    assert gate.driver.line_calls == ["stop_line"]
    gate.runner.reset("eva", "looked")
    gate.turn()
    assert gate.runner.stats.state is GateState.RUNNING
    gate.kill()
    # Open, and nobody acknowledged it: the next process stops again.
    gate = make_gate(OnDrift.STOP, drift, tmp_path)
    assert gate.runner.stats.state is GateState.FAULT
    gate.runner.reset("eva", "looked")
    gate.kill()
    drift.tell(event(state=ACKNOWLEDGED))
    gate = make_gate(OnDrift.STOP, drift, tmp_path)
    assert gate.runner.stats.state is GateState.RUNNING
    gate.kill()


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(list(EpisodeState)), st.sampled_from("ef"), st.sampled_from(["cam", "other"]), st.booleans()
        ),
        st.tuples(st.just("part"), st.lists(st.sampled_from(list(Action)), max_size=2), st.sampled_from(ResultState)),
        st.just(("reset",)),
        st.just(("kill",)),
    ),
    max_size=40,
)


@given(STEPS, st.sampled_from([OnDrift.REVIEW, OnDrift.STOP]))
@settings(max_examples=150)
def test_whatever_is_said_only_accept_changes_while_it_drifts(steps: list[tuple], on_drift: OnDrift) -> None:
    """A model of the policy against the gate, with resets and kills."""
    #: Episode to camera, as first heard; and those that are over.
    known: dict[str, str] = {}
    over: set[str] = set()
    looked_at: set[str] = set()
    with tempfile.TemporaryDirectory() as directory:
        drift = Told()
        more = {"fault_after": 0}
        gate = make_gate(on_drift, drift, Path(directory), **more)
        try:
            for number, (kind, *rest) in enumerate(steps):
                if isinstance(kind, EpisodeState):
                    name, camera, simulated = rest
                    # The same letter at two cameras is two episodes: an id alone names none.
                    name = f"{name}-{camera}"
                    drift.tell(event(name, kind, camera, is_simulated=simulated))
                    if not simulated and (kind is CLOSED or (kind is ACKNOWLEDGED and name in known)):
                        over.add(name)
                    elif not simulated and kind is not ACKNOWLEDGED and name not in over:
                        known.setdefault(name, camera)
                    gate.turn()
                elif kind == "reset":
                    fault = gate.runner.stats.fault
                    assert gate.runner.reset("eva", "looked") is (fault is not None)
                    if fault is not None:
                        looked_at.add(fault.fault_id.removeprefix("drift-"))
                    gate.turn()
                elif kind == "kill":
                    fault = gate.runner.stats.fault
                    gate.kill()
                    gate = make_gate(on_drift, drift, Path(directory), **more)
                    # A fault outlives the process; of a former one's resets the new process knows nothing.
                    assert fault is None or gate.runner.stats.fault == fault
                    looked_at.clear()
                else:
                    actions, state = rest
                    action, why, episode = pass_part(gate, f"p{number}", *actions, result_state=state)
                    usable = [a for a in actions if a is not ACCEPT or state is ResultState.COMPLETED]
                    plain = usable[0] if usable and len(set(usable)) == 1 else REJECT
                    drifting = {n for n in known if n not in over}
                    if why is InstructionReason.FAILSAFE_FAULT:
                        assert (on_drift, action) == (OnDrift.STOP, REJECT)
                    elif on_drift is OnDrift.REVIEW and plain is ACCEPT and "cam" in {known[n] for n in drifting}:
                        assert (action, why, known[str(episode)]) == (REVIEW, InstructionReason.DRIFT_REVIEW, "cam")
                        assert episode in drifting
                    else:
                        assert (action, episode) == (plain, None)
                if on_drift is OnDrift.STOP:
                    pending = {n for n in known if n not in over} - looked_at
                    assert (gate.runner.stats.fault is not None) >= bool(pending)
                else:
                    assert gate.runner.stats.fault is None
        finally:
            gate.kill()


def test_memory_is_bounded() -> None:
    episodes = OpenEpisodes(limit=10, per_camera=4)
    for number in range(100):
        episodes.take(event(f"c{number}"))
        episodes.take(event(f"c{number}", CLOSED))
        episodes.take(event(f"o{number}", camera=str(number)))
        episodes.take(event(f"p{number}", camera="0"))
    assert len(episodes._over) == 40
    assert (len(episodes._open), len(episodes.by_camera["s", "0"])) == (11, 5)
    # Forgotten episodes fail safe: such a camera drifts, and with too many of them every camera does.
    assert episodes.by_camera["s", "0"][-1].episode_id == "too-many-episodes"
    [everywhere] = episodes.by_camera[ANY_CAMERA]
    assert "more than 10 cameras" in everywhere.reason
    gate = make_gate(OnDrift.REVIEW, Told())
    gate.runner._drift._source._known = episodes  # type: ignore[union-attr]
    assert pass_part(gate, "a", ACCEPT) == (REVIEW, InstructionReason.DRIFT_REVIEW, "too-many-cameras")


#: name: events after OPENED; result.
STRANGERS: dict[str, tuple[DriftEvent, str]] = {
    "acknowledged for another camera": (event(state=ACKNOWLEDGED, camera="x"), "unfit"),
    "acknowledged for another station": (event(state=ACKNOWLEDGED, station="t"), "unfit"),
    "acknowledged for another start": (event(state=ACKNOWLEDGED, started_at_us=1), "unfit"),
    "acknowledged for another type": (event(state=ACKNOWLEDGED, drift_type=DriftType.CONCEPT), "unfit"),
    "acknowledged without a name": (event(state=ACKNOWLEDGED, acknowledged_by=" "), "unfit"),
    "closed for another camera": (event(state=CLOSED, camera="x"), "taken"),
    "closed for another start": (event(state=CLOSED, started_at_us=1), "taken"),
    "updated as if closed": (event(state=UPDATED, closed_at_us=2), "implausible"),
    "of no camera": (event(camera=""), "implausible"),
    "of a name that is too long": (event("x" * 1001), "implausible"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_an_event_that_fits_no_episode_ends_none(name: str) -> None:
    said, became = STRANGERS[name]
    episodes = OpenEpisodes()
    assert episodes.take(event())
    assert not episodes.take(said)
    assert episodes.counts[became] == 1 + (became == "taken")
    assert [one.episode_id for one in episodes.by_camera["s", "cam"]] == ["e"]
    assert episodes.take(event(state=ACKNOWLEDGED))
    assert not episodes.take(event(state=UPDATED))
    assert dict(episodes.by_camera) == {}


def test_an_acknowledgement_before_the_episode_ends_nothing() -> None:
    episodes = OpenEpisodes()
    assert not episodes.take(event(state=ACKNOWLEDGED))
    assert episodes.take(event())


def test_a_name_that_the_watch_watches_is_not_too_long_for_the_gate() -> None:
    episodes = OpenEpisodes()
    assert episodes.take(event(camera="c" * 1000))
    assert ("s", "c" * 1000) in episodes.by_camera


def test_a_known_id_hides_no_episode_of_another_camera() -> None:
    episodes = OpenEpisodes()
    episodes.take(event(camera="nowhere", state=CLOSED))
    episodes.take(event(camera="elsewhere"))
    assert episodes.take(event())
    assert ("s", "cam") in episodes.by_camera


def test_many_events_cost_no_more_each() -> None:
    """Check that an event builds no list of all open episodes; a snapshot holds a camera's few episodes."""
    episodes = OpenEpisodes()
    for number in range(4_096):
        episodes.take(event(str(number)))
    assert len(episodes.by_camera["s", "cam"]) == 17
    assert episodes.by_camera is episodes.by_camera
    known = episodes.by_camera
    episodes.take(event("1"))
    assert episodes.by_camera is known, "nothing has changed, so nothing is built"


def test_only_the_station_and_the_type_that_were_asked_for() -> None:
    episodes = OpenEpisodes(station="s", drift_type=DriftType.CONCEPT)
    assert not episodes.take(event(station="t", drift_type=DriftType.CONCEPT))
    assert not episodes.take(event("d"))
    assert episodes.take(event("c", drift_type=DriftType.CONCEPT))
    assert [e.episode_id for e in episodes.by_camera["s", "cam"]] == ["c"]


def test_the_tracker_asks_for_nothing_but_accepted_parts() -> None:
    asked: list[tuple[str, str]] = []
    tracker = PartTracker(ManualClock(), diverts=lambda station, camera: asked.append((station, camera)))
    for part, action in (("a", ACCEPT), ("r", REJECT), ("v", REVIEW)):
        tracker.expect(make_part(part))
        tracker.offer(make_decision(part, action))
    tracker.expect(make_part("none"))
    tracker.due(1)
    assert asked == [("s", "cam")]


def test_an_episode_of_a_declared_warm_up_has_no_consequence():
    episodes = OpenEpisodes()
    assert not episodes.take(event("morning", OPENED, cause=WARM_UP))
    assert not episodes.take(event("morning", UPDATED, cause=WARM_UP))
    assert (episodes.by_camera, episodes.counts["warm-up"]) == ({}, 2)
    # A sensor's fault in a warm-up is a fault.
    assert episodes.take(event("morning", UPDATED, cause="black"))
    assert [episode.episode_id for episode in episodes.by_camera["s", "cam"]] == ["morning"]
    assert episodes.take(event("morning", CLOSED, cause="black"))
    assert episodes.by_camera == {}
