"""The live hook survives a restart, within its bounds."""

from __future__ import annotations

import random
import uuid
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.errors import StateError
from monitoring.quality.concept_monitor import MAX_STATE_BYTES, ConceptMonitor
from monitoring.quality.figures import BY
from schemas import Action, Decision, Label, Verdict
from tests.support.quality_records import make_decision, make_label


def day(seed: int, count: int) -> list[Decision | Label]:
    """Decisions, and labels some hundred decisions later; the error rate rises halfway."""
    chance = random.Random(seed)
    events: list[tuple[float, Decision | Label]] = []
    for number in range(count):
        action = chance.choice([Action.ACCEPT, Action.REJECT])
        wrong = chance.random() < (0.02 if number < count / 2 else 0.4)
        truth = Verdict.OK if (action is Action.REJECT) == wrong else Verdict.NOT_OK
        events.append((number, make_decision(number, action)))
        events.append((number + chance.uniform(-50, 300), make_label(number, truth, sampled_because="random")))
    return [event for _, event in sorted(events, key=lambda one: one[0])]


def enter(monitor: ConceptMonitor, events: list[Decision | Label]) -> list[object]:
    found: list[object] = []
    for event in events:
        found += monitor.decision(event) if isinstance(event, Decision) else monitor.label(event)
    return found


def test_a_restart_changes_nothing() -> None:
    events = day(1, 800)
    whole = ConceptMonitor("s/c")
    alarms = enter(whole, events)
    assert {alarm.side for alarm in alarms} == {"escapes", "overkill"}  # type: ignore[attr-defined]
    found, monitor = [], ConceptMonitor("s/c")
    for at in range(0, len(events), 111):
        found += enter(monitor, events[at : at + 111])
        state, monitor = monitor.state(), ConceptMonitor("s/c")
        monitor.restore(state)
        # At least once: the last events come again.
        assert enter(monitor, events[max(0, at - 20) : at + 111]) == []
    assert found == alarms
    for by in BY:
        assert monitor.figures(by) == whole.figures(by)
    assert monitor.quality.streams == whole.quality.streams


def test_a_label_that_waits_survives_a_restart() -> None:
    monitor, again = ConceptMonitor("s/c"), ConceptMonitor("s/c")
    monitor.label(make_label(3, Verdict.NOT_OK))
    again.restore(monitor.state())
    again.decision(make_decision(3))
    assert (again.quality.figures.escapes, again.quality.waiting_labels) == (1, 0)


@pytest.mark.long
def test_the_state_is_bounded() -> None:
    monitor = ConceptMonitor("s/c")
    chance = random.Random(0)
    for number in range(30_000):
        part = uuid.UUID(int=chance.getrandbits(128)).hex
        monitor.decision(make_decision(number, part_id=part, lot=f"L{number // 50}"))
        if number % 3 == 0:
            truth = Verdict.NOT_OK if chance.random() < 0.05 else Verdict.OK
            monitor.label(make_label(number, truth, label_id=uuid.UUID(int=chance.getrandbits(128)).hex))
    size = len(monitor.state())
    assert size < 400 * 1024 < MAX_STATE_BYTES
    # What does not fit is left out, the oldest first.
    large = ConceptMonitor("s/c", state_decisions=20_000)
    large.restore(monitor.state())
    for number in range(30_000, 45_000):
        large.decision(make_decision(number, part_id=uuid.UUID(int=chance.getrandbits(128)).hex))
    state = large.state()
    assert len(state) <= MAX_STATE_BYTES
    again = ConceptMonitor("s/c")
    again.restore(state)
    assert again.quality.counts.duplicate_decisions == 0
    again.decision(make_decision(44_999))
    assert again.quality.counts.duplicate_decisions == 1


def _valid() -> bytes:
    monitor = ConceptMonitor("s/c")
    enter(monitor, day(2, 40))
    return monitor.state()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02" + _valid()[1:],
        _valid()[:-5],
        b"\x01garbage",
        b"\x01" + zlib.compress(b"[]"),
        b"\x01" + zlib.compress(b'{"camera": "s/c"}'),
        b"\x01" + zlib.compress(b'{"camera": "s/other"}'),
        b"\x01" + zlib.compress(zlib.decompress(_valid()[1:]).replace(b'"frame":[', b'"frame":["x",')),
        b"\x01" + zlib.compress(b" " * (65 * 1024 * 1024)),
    ],
    ids=["empty", "version", "short", "garbage", "list", "nothing", "other camera", "columns differ", "bomb"],
)
def test_a_damaged_state_is_refused_and_changes_nothing(data: bytes) -> None:
    monitor = ConceptMonitor("s/c")
    enter(monitor, day(3, 60))
    before = monitor.quality
    with pytest.raises(StateError, match="state of concept drift"):
        monitor.restore(data)
    assert monitor.quality == before


@given(st.binary(max_size=60))
@settings(max_examples=200)
def test_any_bytes_are_refused_by_one_error(data: bytes) -> None:
    monitor = ConceptMonitor("s/c")
    with pytest.raises(StateError):
        monitor.restore(b"\x01" + zlib.compress(data))
    monitor.close()
