"""What a gate does while a camera drifts, and that the watch of drift never harms it."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from hypothesis import given, settings
from hypothesis import strategies as st

from actuators import (
    DecisionConsumer,
    DriftStats,
    DriftWatch,
    GateRunner,
    GateSettings,
    GateState,
    OnDrift,
    PartTracker,
    Why,
)
from actuators.fault_reset import standing
from actuators.metrics import GateMetrics
from actuators.open_episodes import Camera, OpenEpisode, OpenEpisodes
from infra.broker import LocalBroker
from schemas import Action, DriftEvent, DriftType, EpisodeState, KafkaSettings, ResultState, encode
from schemas.clock import ManualClock
from schemas.errors import SettingsError
from schemas.topics import DRIFT
from tests.actuators.decisions import ListSource, Recorder, make_decision, make_frame, make_part, now_us
from tests.actuators.stepped import SteppedGate
from tests.schemas.examples import DRIFT_EVENT

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
    def episodes(self) -> Mapping[Camera, tuple[OpenEpisode, ...]]:
        return self._known.by_camera

    def open(self) -> None:
        self.opened += 1

    def close(self) -> None:
        self.closed += 1


def make_gate(on_drift: OnDrift, drift: Told, directory: Path | None = None, **more: object) -> SteppedGate:
    clock = ManualClock(utc_us=10**15, monotonic_s=1.0)
    return SteppedGate(clock, GateSettings(belt_ms=100, on_drift=on_drift, **more), directory, drift)  # type: ignore[arg-type]


def pass_part(gate: SteppedGate, name: str, *actions: Action, **decision: object) -> tuple[Action, Why, str | None]:
    captured = gate.clock.utc_us()
    gate.expect(name, captured)
    for number, action in enumerate(actions):
        gate.offer(make_decision(name, action, model=str(number), captured_at_us=captured, **decision))
    gate.advance(0.101)
    instruction = gate.driver.acts[-1][1]
    assert instruction.part_key == name
    return instruction.action, instruction.why, instruction.episode_id


ACCEPT, REJECT, REVIEW = Action.ACCEPT, Action.REJECT, Action.REVIEW
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
        assert pass_part(gate, "a", ACCEPT)[:2] == (REVIEW, Why.DRIFT_REVIEW)
    else:
        assert pass_part(gate, "a", ACCEPT) == (ACCEPT, Why.DECIDED, None)
    assert gate.runner.stats.tracker.drift_review == is_diverted


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ([REJECT], (REJECT, Why.DECIDED)),
        ([REVIEW], (REVIEW, Why.DECIDED)),
        ([ACCEPT, REJECT], (REJECT, Why.CONFLICT)),
        ([], (REJECT, Why.FAILSAFE_MISSING)),
    ],
)
def test_nothing_is_weakened(actions: list[Action], expected: tuple[Action, Why]) -> None:
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
    instruction = gate.driver.acts[-1][1]
    assert (instruction.why, instruction.episode_id) == (Why.DRIFT_REVIEW, "e")
    assert instruction.decision is not None  # the journal says what was decided
    for name in "bcd":
        assert pass_part(gate, name, ACCEPT) == (REVIEW, Why.DRIFT_REVIEW, "e")
    drift.tell(event(state=ACKNOWLEDGED))
    assert pass_part(gate, "e", ACCEPT) == (ACCEPT, Why.DECIDED, None)
    stats = gate.runner.stats
    assert (stats.tracker.drift_review, stats.tracker.decided, stats.tracker.review, stats.faults) == (4, 1, 4, 0)
    parts = {"why": "drift-review"}
    metrics = GateMetrics(lambda: stats).registry
    assert metrics.get_sample_value("inspection_gate_parts_total", parts) == 4


def test_nothing_is_what_happens_by_default() -> None:
    drift = Told(event())
    gate = make_gate(OnDrift.NOTHING, drift)
    assert pass_part(gate, "a", ACCEPT) == (ACCEPT, Why.DECIDED, None)
    assert (drift.opened, gate.runner.stats.drift, gate.driver.told) == (0, None, [])
    metrics = GateMetrics(lambda: gate.runner.stats).registry
    assert metrics.get_sample_value("inspection_gate_drift_connected") is None


def test_consequences_need_a_watch() -> None:
    with pytest.raises(SettingsError, match="needs a DriftWatch"):
        GateRunner(ListSource(), Recorder(), GateSettings(on_drift=OnDrift.STOP))


def test_an_episode_stops_the_line_until_a_person_resets_it() -> None:
    drift = Told()
    gate = make_gate(OnDrift.STOP, drift)
    assert pass_part(gate, "a", ACCEPT)[0] is ACCEPT
    drift.tell(event())
    gate.turn()
    assert gate.driver.told == ["stop"]
    fault = gate.runner.stats.fault
    assert fault is not None
    assert (fault.reason, fault.in_a_row) == ("drift on s/cam: it got darker (episode e)", 0)
    assert pass_part(gate, "b", ACCEPT) == (REJECT, Why.FAILSAFE_FAULT, None)
    # Neither its end nor an acknowledgement starts the line: FAULT latches.
    drift.tell(event(state=CLOSED), event(state=ACKNOWLEDGED))
    assert pass_part(gate, "c", ACCEPT)[1] is Why.FAILSAFE_FAULT
    assert gate.runner.reset("eva", "lamp replaced")
    assert pass_part(gate, "d", ACCEPT) == (ACCEPT, Why.DECIDED, None)
    assert gate.driver.told == ["stop", "release"]
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
    assert gate.driver.told == ["stop", "stop", "release"]
    assert [text.partition(": ")[2][:15] for text in caplog.messages if text.startswith("FAULT:")] == [
        "drift on s/cam:",
        "drift on s/othe",
    ]
    assert pass_part(gate, "p", ACCEPT)[0] is ACCEPT
    drift.tell(event("a", UPDATED), event("d"))
    gate.turn()
    assert "episode d" in str(gate.runner.stats.fault)


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
    assert gate.driver.told == ["stop"]
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
@settings(max_examples=150, deadline=None)
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
                    drift.tell(event(name, kind, camera, is_simulated=simulated))
                    if not simulated and kind in (CLOSED, ACKNOWLEDGED):
                        over.add(name)
                    elif not simulated and name not in over:
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
                    if why is Why.FAILSAFE_FAULT:
                        assert (on_drift, action) == (OnDrift.STOP, REJECT)
                    elif on_drift is OnDrift.REVIEW and plain is ACCEPT and "cam" in {known[n] for n in drifting}:
                        assert (action, why, known[str(episode)]) == (REVIEW, Why.DRIFT_REVIEW, "cam")
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
    episodes = OpenEpisodes(limit=10)
    for number in range(100):
        episodes.take(event(f"o{number}", camera=str(number)))
        episodes.take(event(f"c{number}"))
        episodes.take(event(f"c{number}", CLOSED))
    assert (len(episodes._open), len(episodes._over), episodes.tally["forgotten"]) == (9, 10, 91)
    assert [names[0].episode_id for names in episodes.by_camera.values()] == [f"o{n}" for n in range(91, 100)]


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


# With a real broker.


class Topic:
    """The drift topic of a line, and a hand that writes to it."""

    def __init__(self, line: KafkaSettings) -> None:
        self.line = line
        self._producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "log_level": 0})

    def say(self, *values: DriftEvent | bytes | None) -> None:
        for value in values:
            data = encode(value) if isinstance(value, DriftEvent) else value
            self._producer.produce(self.line.drift, data, key=getattr(value, "key", None))
        assert self._producer.flush(20) == 0


@pytest.fixture
def topic(line: KafkaSettings) -> Topic:
    return Topic(line)


def await_(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.01)


def open_ids(watch: DriftWatch) -> list[str]:
    return sorted(episode.episode_id for episodes in watch.episodes.values() for episode in episodes)


@pytest.mark.broker
def test_the_watch_knows_the_past_and_follows(topic: Topic) -> None:
    topic.say(event("past"), b"garbage", event("over"), None, event("seen"), event("sim", is_simulated=True))
    topic.say(event("over", CLOSED), event("seen", ACKNOWLEDGED), encode(event("cut"))[:-2], encode(make_frame()))
    watch = DriftWatch(topic.line)
    watch.open()
    try:
        # Known when `open` returns; and never was an episode of the past open that is over by now.
        assert open_ids(watch) == ["past"]
        assert watch.stats == DriftStats(connected=True, open_episodes=1, events=5, simulated=1, undecodable=4)
        topic.say(event("new", camera="side"), b"garbage")
        await_(lambda: open_ids(watch) == ["new", "past"])
        topic.say(event("past", CLOSED), event("new", ACKNOWLEDGED))
        await_(lambda: open_ids(watch) == [])
        assert watch.stats.undecodable == 5
    finally:
        watch.close()
    assert not watch.stats.connected


@pytest.mark.broker
def test_an_empty_topic_is_known_at_once(topic: Topic) -> None:
    watch = DriftWatch(topic.line)
    began = time.monotonic()
    watch.open()
    assert watch.stats == DriftStats(connected=True)
    assert time.monotonic() - began < 8
    watch.close()


@pytest.mark.broker
def test_review_from_the_topic_to_the_part_and_over_a_restart(topic: Topic) -> None:
    line = topic.line
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0})

    def make() -> tuple[GateRunner, Recorder]:
        recorder = Recorder()
        gate = GateRunner(
            DecisionConsumer(line), recorder, GateSettings(belt_ms=400, on_drift=OnDrift.REVIEW), drift=DriftWatch(line)
        )
        gate.start()
        return gate, recorder

    def pass_real(gate: GateRunner, recorder: Recorder, action: Action) -> tuple[Action, Why]:
        """Parts come until a decision is in time: the first fetch of a topic may take a moment."""
        for _ in range(30):
            captured = now_us()
            part = f"p{captured}"
            gate.expect(part, station="s", camera_id="cam", captured_at_us=captured)
            producer.produce(line.decisions, encode(make_decision(part, action, captured_at_us=captured)))
            producer.flush(10)
            await_(lambda part=part: bool(recorder.instructions) and recorder.instructions[-1].part_key == part)
            if not recorder.instructions[-1].is_failsafe:
                break
        return recorder.instructions[-1].action, recorder.instructions[-1].why

    topic.say(event("past"), b"garbage")
    gate, recorder = make()
    assert pass_real(gate, recorder, ACCEPT) == (REVIEW, Why.DRIFT_REVIEW)
    assert pass_real(gate, recorder, REJECT) == (REJECT, Why.DECIDED)
    gate.stop()
    gate, recorder = make()
    assert pass_real(gate, recorder, ACCEPT) == (REVIEW, Why.DRIFT_REVIEW)
    topic.say(event("past", ACKNOWLEDGED))
    await_(lambda: gate.stats.drift is not None and gate.stats.drift.open_episodes == 0)
    assert pass_real(gate, recorder, ACCEPT) == (ACCEPT, Why.DECIDED)
    metrics = GateMetrics(lambda: gate.stats).registry
    assert metrics.get_sample_value("inspection_gate_drift_connected") == 1
    assert metrics.get_sample_value("inspection_gate_unused_drift_events_total", {"why": "unreadable"}) == 1
    gate.stop()


@pytest.mark.broker
@pytest.mark.faults
def test_a_topic_that_is_missing_harms_nothing_and_is_found_later(
    broker: LocalBroker, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    line = KafkaSettings(broker.bootstrap_servers, unique)
    recorder = Recorder()
    watch = DriftWatch(line, retry_s=0.2)
    gate = GateRunner(ListSource(), recorder, GateSettings(belt_ms=50, on_drift=OnDrift.STOP), drift=watch)
    with caplog.at_level(logging.INFO, logger="actuators.drift_watch"):
        gate.start()
        time.sleep(1.0)  # some tries
        gate.expect_frame(make_frame("p1", captured_at_us=now_us()))
        await_(lambda: len(recorder.instructions) == 1)
        assert gate.stats.drift == DriftStats(connected=False)
        assert len(caplog.records) == 1
        assert "drift is not watched, the gate goes on without: missing topics" in caplog.text
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        for created in admin.create_topics([NewTopic(line.drift, DRIFT.partitions, 1)]).values():
            created.result(20)
        Topic(line).say(event())
        await_(lambda: gate.stats.fault is not None)
    assert "episode e" in str(gate.stats.fault)
    gate.stop()


@pytest.mark.faults
def test_without_a_broker_the_gate_starts_and_acts(caplog: pytest.LogCaptureFixture) -> None:
    recorder, source = Recorder(), ListSource()
    watch = DriftWatch(KafkaSettings("127.0.0.1:1"), patience_s=0.3)
    gate = GateRunner(source, recorder, GateSettings(belt_ms=50, on_drift=OnDrift.REVIEW), drift=watch)
    began = time.monotonic()
    gate.start()
    assert time.monotonic() - began < 2
    captured = now_us()
    gate.expect_frame(make_frame("p1", captured_at_us=captured))
    source.waiting.append(make_decision("p1", captured_at_us=captured))
    await_(lambda: len(recorder.instructions) == 1)
    assert gate.stats.drift == DriftStats(connected=False)
    gate.stop()
    assert recorder.instructions[0].why is Why.DECIDED
    assert "its past is not read after 0.3 s" in caplog.text


@pytest.mark.broker
@pytest.mark.faults
def test_a_watch_that_dies_harms_nothing(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic.say(event())
    recorder, source = Recorder(), ListSource()
    watch = DriftWatch(topic.line)
    gate = GateRunner(source, recorder, GateSettings(belt_ms=200, on_drift=OnDrift.REVIEW), drift=watch)
    gate.start()
    assert gate.stats.drift == DriftStats(connected=True, open_episodes=1, events=1)
    monkeypatch.setattr(OpenEpisodes, "take", lambda self, event: 1 / 0)
    topic.say(event("f", camera="other"))
    await_(lambda: not watch._thread.is_alive())
    assert gate.stats.drift == DriftStats(connected=False, open_episodes=1, events=1)
    captured = now_us()
    for camera in ("cam", "other"):
        gate.expect("p", station="s", camera_id=camera, captured_at_us=captured)
        source.waiting.append(make_decision("p", camera_id=camera, captured_at_us=captured))
    gate.stop()
    # What was known goes on to count, as nobody says that it is over.
    assert {i.camera_id: i.why for i in recorder.instructions} == {"cam": Why.DRIFT_REVIEW, "other": Why.DECIDED}
    assert "the drift watch stops; the gate goes on" in caplog.text
