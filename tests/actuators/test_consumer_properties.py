"""The consumer of decisions, killed at any point: what was handed over once never is again."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from actuators import DecisionConsumer
from actuators.watermark import Watermark
from schemas import Action, Decision, KafkaSettings
from schemas.clock import ManualClock
from schemas.codec import encode
from tests.support.gate_records import make_decision


class Killed(BaseException):
    """What `kill -9` looks like from inside."""


class LogMessage:
    def __init__(self, value: bytes, partition: int, offset: int) -> None:
        self._place = (partition, offset)
        self._value = value

    def value(self) -> bytes:
        return self._value

    def topic(self) -> str:
        return "d"

    def partition(self) -> int:
        return self._place[0]

    def offset(self) -> int:
        return self._place[1]


class LogTail:
    """A topic in memory, read as `Tail` reads one."""

    topic = "d"
    connected = True
    contact_age_s = 0.0
    errors = 0
    topic_id = "id"

    def __init__(self, log: dict[int, list[bytes]]) -> None:
        self._log = log
        self._next: dict[int, int] = {}
        self.is_open = False

    def open(self, resume: Mapping[int, int] | None = None, topic_id: str | None = None) -> dict[int, int]:
        assert topic_id in (None, self.topic_id)
        self.is_open = True
        ends = {partition: len(values) for partition, values in self._log.items()}
        self._next = ends if resume is None else {p: resume.get(p, 0) for p in ends}
        return dict(self._next)

    def poll(self, timeout_s: float) -> LogMessage | None:
        for partition, offset in self._next.items():
            if offset < len(self._log[partition]):
                self._next[partition] += 1
                return LogMessage(self._log[partition][offset], partition, offset)
        return None

    def close(self) -> None:
        self.is_open = False


STEP = st.one_of(
    st.tuples(
        st.just("produce"),
        st.integers(0, 1),
        st.integers(0, 5),
        st.sampled_from([Action.ACCEPT, Action.REJECT]),
        st.booleans(),
    ),
    st.tuples(st.just("garbage"), st.integers(0, 1)),
    st.tuples(st.just("poll")),
    st.tuples(st.just("kill")),
    st.tuples(st.just("kill with one in hand")),
    st.tuples(st.just("advance"), st.sampled_from([0.1, 6.0])),
    st.tuples(st.just("jump"), st.sampled_from([-3600, 3600])),
)


@given(st.lists(STEP, max_size=60))
@settings(max_examples=200)
def test_no_message_is_delivered_twice_and_one_a_kill_is_lost(steps: list[tuple]) -> None:
    clock = ManualClock(utc_us=10**15, monotonic_s=5.0)
    # History, from before the first run.
    log = {0: [encode(make_decision("history", captured_at_us=clock.utc_us()))], 1: []}
    with tempfile.TemporaryDirectory() as directory:
        consumer = make_consumer(log, Path(directory), clock)
        delivered: list[tuple[str, Action, bool]] = []
        delivered_by_run: list[list[tuple[str, Action, bool, int]]] = [[]]
        produced = 0

        def take() -> bool:
            decision = consumer.poll(0)
            if decision is None:
                return False
            delivered.append((decision.reason, decision.action, decision.is_simulated))
            said = (decision.decision_id, decision.action, decision.is_simulated, decision.captured_at_us)
            delivered_by_run[-1].append(said)
            return True

        for kind, *rest in steps:
            if kind == "produce":
                partition, part, action, simulated = rest
                produced += 1
                log[partition].append(encode(make(part, action, simulated, clock, str(produced))))
            elif kind == "garbage":
                log[rest[0]].append(b"garbage")
            elif kind == "poll":
                take()
            elif kind == "advance":
                clock.advance(rest[0])
            elif kind == "jump":
                clock.jump_utc(rest[0])
            else:
                if kind == "kill with one in hand":
                    kill_in_hand(consumer)
                kill(consumer)
                consumer = make_consumer(log, Path(directory), clock)
                delivered_by_run.append([])
        for _ in range(len(log[0]) + len(log[1]) + 1):
            take()
        kill(consumer)
    # ``reason`` numbers the messages: none twice, history never.
    numbers = [number for number, *_ in delivered]
    assert len(set(numbers)) == len(numbers)
    assert "r" not in numbers
    for run in delivered_by_run:
        assert len(set(run)) == len(run)


def make(part: int, action: Action, simulated: bool, clock: ManualClock, number: str) -> Decision:
    return make_decision(
        f"p{part}", action, is_simulated=simulated, captured_at_us=clock.utc_us(), reason=number, model="m"
    )


def make_consumer(log: dict[int, list[bytes]], directory: Path, clock: ManualClock) -> DecisionConsumer:
    consumer = DecisionConsumer(KafkaSettings("unused:1", "d"), state_dir=directory, clock=clock)
    consumer._tail = LogTail(log)  # type: ignore[assignment]
    consumer.open()
    return consumer


def kill(consumer: DecisionConsumer) -> None:
    """Nothing is written any more; the system takes the lock back."""
    assert consumer._watermark is not None
    consumer._watermark._lock.close()


def kill_in_hand(consumer: DecisionConsumer) -> None:
    """Die when the offset is on file and the decision is not yet handed over."""
    mark = consumer._watermark
    assert mark is not None

    def advance_and_die(partition: int, next_offset: int) -> bool:
        Watermark.advance(mark, partition, next_offset)
        raise Killed

    mark.advance = advance_and_die  # type: ignore[method-assign]
    with contextlib.suppress(Killed):
        consumer.poll(0)
