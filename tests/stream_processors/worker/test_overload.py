"""Frames that come faster than they can be inspected are answered, and those inspected are in time."""

from __future__ import annotations

import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from infra.broker import LocalBroker
from infra.cli.root import app
from infra.demo.processes import WorkerProcess
from models import FramePosition, default_model_path, load_model
from schemas import Action, Decision, Frame, KafkaSettings, ResultState, Verdict
from schemas.clock import ManualClock
from schemas.codec import Codec, decode, encode
from schemas.errors import SettingsError
from schemas.topics import FRAMES
from stream_processors.worker.frame_processor import FrameProcessor
from stream_processors.worker.frame_task import FrameMessage
from stream_processors.worker.overload import LatestOffsets, Overload, OverloadPolicy, shed_reason
from tests.support.press_frames import make_frame
from transport.topic_setup import apply


@given(
    deadline_ms=st.none() | st.integers(1, 10_000),
    age_us=st.integers(-(10**12), 10**12),
    needed_ms=st.floats(0, 10_000),
    overtaken=st.booleans(),
    mode=st.sampled_from(Overload),
)
def test_what_is_shed(deadline_ms: int | None, age_us: int, needed_ms: float, overtaken: bool, mode: Overload) -> None:
    frame = make_frame(captured_at_us=10**15, deadline_ms=deadline_ms)
    now_us = 10**15 + age_us
    shed = shed_reason(frame, mode, now_us=now_us, needed_ms=needed_ms, overtaken=overtaken)
    in_time = deadline_ms is None or now_us + needed_ms * 1000 <= 10**15 + deadline_ms * 1000
    if mode is Overload.EVERYTHING:
        assert shed is None
    elif mode is Overload.NEWEST and overtaken:
        assert shed is not None
        assert shed[0] == "overtaken"
    else:
        assert (shed is None) == in_time
        # A clock never turns back: what is shed once is shed whenever it is read again.
        if shed is not None:
            assert shed_reason(frame, mode, now_us=now_us + 1, needed_ms=needed_ms, overtaken=overtaken) is not None


def test_memory_of_the_newest_is_bounded() -> None:
    now_s = [0.0]
    newest = LatestOffsets(lambda: now_s[0])
    for offset in (5, 6, 7):
        for number in range(20_000):
            newest.read(0, str(number).encode(), offset)
        now_s[0] += 1
    assert len(newest._cameras) == 10_000
    assert not newest.overtaken(0, b"1", 0)  # forgotten: inspected rather than shed
    for number in range(3):
        newest.read(0, b"c", number)
        now_s[0] += 1
    assert newest.overtaken(0, b"c", 0)
    assert not newest.overtaken(0, b"c", 2)


def answer_to(frame: Frame, overload: OverloadPolicy, now_us: int, headers: dict[str, bytes] | None = None) -> Decision:
    answerer = FrameProcessor(load_model(default_model_path()), Codec(), ManualClock(utc_us=now_us), overload)
    answer = answerer(
        FrameMessage(encode(frame), frame.key.encode(), headers or {}, FramePosition("frames", 0, 0, now_us))
    )
    assert answer.decision is not None
    return answer.decision


def test_a_shed_frame_has_a_decision_with_an_id_of_its_own() -> None:
    frame = make_frame(captured_at_us=10**15)
    late = 10**15 + 600_000
    shed = answer_to(frame, OverloadPolicy(), late)
    assert (shed.verdict, shed.action, shed.result_state) == (Verdict.NOT_DECIDABLE, Action.REJECT, ResultState.ABORTED)
    assert shed.reason == "shed (deadline): the deadline was 100 ms ago"
    assert shed.is_late
    for policy, headers in (
        (OverloadPolicy(Overload.EVERYTHING), {}),
        (OverloadPolicy(stations={"press": Overload.EVERYTHING}), {}),
    ):
        inspected = answer_to(frame, policy, late, headers)
        assert inspected.result_state is ResultState.COMPLETED
        assert inspected.decision_id != shed.decision_id
    again = answer_to(frame, OverloadPolicy(), late + 5)
    assert (again.decision_id, again.verdict) == (shed.decision_id, shed.verdict)


@pytest.mark.parametrize("given", ["fastest", "=newest", "press=", "press=all"])
def test_an_unknown_mode_is_one_clear_line(given: str) -> None:
    result = CliRunner().invoke(app, ["worker", "--overload", given])
    assert isinstance(result.exception, SettingsError)
    assert "deadline, newest, everything" in str(result.exception)


class Line:
    """Publishes at a rate and collects the decisions."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._sequence = 0
        self.published: set[str] = set()
        self.decisions: list[Decision] = []
        config = {"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0}
        self._producer = Producer({**config, "message.max.bytes": FRAMES.max_message_bytes})
        self._consumer = Consumer({**config, "group.id": "reader", "enable.auto.commit": False})
        partitions = len(self._consumer.list_topics(kafka.decisions, timeout=10).topics[kafka.decisions].partitions)
        self._consumer.assign([TopicPartition(kafka.decisions, p, 0) for p in range(partitions)])

    def publish(self, seconds: float, fps: float, deadline_ms: int | None, cameras: int = 6) -> None:
        began = time.monotonic()
        for number in range(round(seconds * fps)):
            time.sleep(max(0.0, began + number / fps - time.monotonic()))
            self._sequence += 1
            frame = make_frame(self._sequence, captured_at_us=time.time_ns() // 1000, deadline_ms=deadline_ms)
            frame = replace(frame, camera_id=f"cam{self._sequence % cameras}")
            self.published.add(frame.frame_id)
            self._producer.produce(self._kafka.frames, encode(frame), frame.key)
            self._producer.poll(0)
        assert self._producer.flush(20) == 0

    def collect(self, timeout_s: float = 60) -> None:
        """Read decisions until every frame has one."""
        deadline = time.monotonic() + timeout_s
        seen = {decision.frame_id for decision in self.decisions}
        while self.published - seen and time.monotonic() < deadline:
            for message in self._consumer.consume(500, 0.1):
                self.decisions.append(decode(message.value(), Decision))
                seen.add(self.decisions[-1].frame_id)

    def close(self) -> None:
        self._consumer.close()


#: The load of each measurement, in seconds; the first is not counted.
LOAD_S, WARM_S = 5, 1
#: `python -m benchmarks.overload` compares with the aim of 0.85. Here a share is measured up to three times, and the
#: limit lies between the 0.38 of a worker that sheds frame by frame, and the 0.6 and more of today's.
LEAST_SHARE = 0.5


def inspected_per_s(line: Line, rate: float) -> float:
    """Publish at a rate; return the frames a second that are inspected meanwhile."""
    line.decisions.clear()
    line.published.clear()
    began_us = time.time_ns() // 1000
    line.publish(LOAD_S, rate, 500)
    line.collect(3)
    window = range(began_us + WARM_S * 10**6, began_us + LOAD_S * 10**6)
    completed = [each for each in line.decisions if each.result_state is ResultState.COMPLETED]
    return sum(each.decided_at_us in window for each in completed) / (LOAD_S - WARM_S)


def find_overload(line: Line) -> tuple[float, float]:
    """Return a rate of about three times what the worker inspects, and what it inspects of it, in frames a second."""
    began = time.monotonic()
    line.publish(0.6, 1_000, None, cameras=600)
    line.collect()
    rate = 3 * 600 / (time.monotonic() - began)
    while (sustained := inspected_per_s(line, rate)) > rate / 2:
        rate = 3 * sustained  # a slow moment hid what the worker is able to do
    return rate, sustained


@contextmanager
def running(broker: LocalBroker, prefix: str, mode: str, log: Path) -> Iterator[tuple[Line, WorkerProcess]]:
    """Yield a separate line with a worker that has inspected its first frames."""
    kafka = KafkaSettings(broker.bootstrap_servers, prefix)
    apply(kafka)
    line = Line(kafka)
    try:
        with WorkerProcess(kafka, model=None, group=prefix, log=log, options=["--overload", mode]) as worker:
            worker.await_ready()
            line.publish(0.5, 50, None, cameras=600)
            line.collect()
            yield line, worker
    finally:
        line.close()


@pytest.mark.broker
@pytest.mark.faults
@pytest.mark.long
@pytest.mark.alone
@pytest.mark.parametrize("mode", ["deadline", "newest"])
def test_three_times_what_a_worker_sustains(
    broker: LocalBroker, unique: str, tmp_path: Path, mode: str, fault_row: Callable[..., None]
) -> None:
    """Compare with a worker that sheds nothing, with the same sender and broker: it inspects nearly as many frames."""
    share = 0.0
    for attempt in range(3):
        with running(broker, f"{unique}-all{attempt}", "everything", tmp_path / f"all{attempt}.log") as (line, _):
            rate, sustained = find_overload(line)
        with running(broker, f"{unique}-{attempt}", mode, tmp_path / f"{attempt}.log") as (line, worker):
            inspected = inspected_per_s(line, rate)
            line.collect()
            with urllib.request.urlopen(worker.url + "/metrics", timeout=5) as answer:
                metrics = answer.read().decode()
        assert_answered(line, metrics, mode)
        share = max(share, inspected / sustained)
        if share >= LEAST_SHARE:
            break
    fault_row(
        f"overload x3 ({mode})", frames=len(line.published), sustained_per_s=sustained, offered_per_s=rate,
        inspected_per_s=inspected, share_percent=100 * share,
    )  # fmt: skip
    assert share >= LEAST_SHARE


def assert_answered(line: Line, metrics: str, mode: str) -> None:
    """Check that every trigger has one terminal answer, and that no inspected one is late."""
    states = Counter(decision.result_state for decision in line.decisions)
    assert Counter(d.frame_id for d in line.decisions) == Counter(line.published)
    assert set(states) == {ResultState.COMPLETED, ResultState.ABORTED}
    assert not any(d.is_late for d in line.decisions if d.result_state is ResultState.COMPLETED)
    assert all(d.action is Action.REJECT for d in line.decisions if d.result_state is ResultState.ABORTED)
    shed = sum(float(row.rsplit(" ", 1)[1]) for row in metrics.splitlines() if row.startswith("inspection_shed_total"))
    assert shed == states[ResultState.ABORTED]
    overtaken = sum("a newer frame of the camera is there" in decision.reason for decision in line.decisions)
    assert (overtaken > 0) == (mode == "newest")
