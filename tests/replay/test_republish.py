"""Frames of the past are published again as they were, marked, and move nothing of the live line."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.root import app
from infra.demo.processes import WorkerProcess
from monitoring.drift import DriftOptions
from replay.republish import _Pace, by_capture, prefix_of, republish, speed_of
from schemas import Decision, Frame, KafkaSettings, ResultState
from schemas.codec import decode
from schemas.errors import BrokerUnavailable, InspectionError, SettingsError
from schemas.replay_headers import REPLAY_HEADER, REPLAY_OF_HEADER, REPLAY_TIMESTAMP_HEADER
from schemas.topics import AUDIT_LOG, TOPICS
from schemas.topics import FRAMES as FRAMES_TOPIC
from stream_processors.watch.settings import WatchSettings
from tests.support.decided_lines import FRAMES, Decided, make_frame
from tests.support.programs import Programs
from transport.range_reader import read_topic
from transport.stored_message import MessagePosition, StoredMessage
from transport.topic_ranges import TopicMessage, watermarks
from transport.topic_setup import apply


def test_told_to_stop_while_no_broker_takes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.republish._STOPPED_FLUSH_S", 0.2)
    frames = [make_frame(number, bytes(1_000_000), captured_at_us=1) for number in range(4)]
    endless = (StoredMessage(MessagePosition("t", 0, n), 1, b"k", {}, frames[n % 4]) for n in itertools.count())
    stop = threading.Event()
    timer = threading.Timer(1.0, stop.set)
    timer.start()
    began_s = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="frames are not acknowledged"):
        republish([endless], KafkaSettings("127.0.0.1:1"), "x.replay.frames", speed=math.inf, stop=stop)
    assert time.monotonic() - began_s < 20


def test_a_long_wait_is_said(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    pace = _Pace(1.0, stop)
    pace.wait(0, lambda: None)
    pace.wait(3_600_000_000, lambda: None)
    assert "captured 3600 s later" in caplog.text


def test_one_wrong_clock_does_not_end_the_pace(caplog: pytest.LogCaptureFixture) -> None:
    pace = _Pace(1.0, threading.Event())
    began_s = time.monotonic()
    for captured_at_us in (0, *(1_764_000_000_000_000 + number * 20_000 for number in range(11)), 5):
        pace.wait(captured_at_us, lambda: None)
    assert time.monotonic() - began_s >= 0.2
    assert pace.late_ms < 10_000
    assert len(caplog.records) == 2


def replay(kafka: KafkaSettings, *arguments: str) -> Result:
    options = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
    return CliRunner().invoke(app, ["replay", *options, *arguments])


def stored(offset: int, captured_at_us: int, partition: int = 0, key: bytes = b"press/top") -> StoredMessage[Frame]:
    frame = make_frame(offset, b"x", captured_at_us=captured_at_us)
    return StoredMessage(MessagePosition("t", partition, offset), captured_at_us, key, {"traceparent": b"t"}, frame)


@pytest.mark.parametrize("topic", [
    "inspection.frames", "inspection.decisions", "other.frames", "inspection.replay", "inspection.replay.decisions",
    "inspection.replays.frames", "replay frames", "", "x.replay.y z.frames", "inspection.dead-letters",
])  # fmt: skip
def test_no_topic_of_a_line_is_written_to(topic: str) -> None:
    with pytest.raises(SettingsError):
        prefix_of(topic, KafkaSettings())
    with pytest.raises(SettingsError):
        republish([], KafkaSettings("127.0.0.1:1"), topic)


def test_a_live_line_that_is_called_replay_is_not_written_to_either() -> None:
    with pytest.raises(SettingsError, match="never go to a topic of the live line"):
        prefix_of("my.replay.frames", KafkaSettings(prefix="my.replay"))


@pytest.mark.parametrize("speed", ["", "x", "0x", "-1x", "10", "nanx", "infx", "fast"])
def test_no_speed(speed: str) -> None:
    with pytest.raises(SettingsError, match="--speed"):
        speed_of(speed)


def test_partitions_are_merged_by_capture_and_little_is_held() -> None:
    held: list[int] = []

    def stream(partition: int) -> list[StoredMessage[Frame]]:
        return [stored(number, number * 1000 + partition * 100 + (-1500 if number % 5 == 0 else 0), partition)
                for number in range(1, 200)]  # fmt: skip

    def counted(frames: list[StoredMessage[Frame]]):  # type: ignore[no-untyped-def]
        for found in frames:
            held.append(1)
            yield found

    order = []
    for done, (at_us, _) in enumerate(by_capture([counted(stream(p)) for p in range(3)], count=30)):
        order.append(at_us)
        assert len(held) - done <= 40
    assert order == sorted(order)
    assert len(order) == 3 * 199


@pytest.mark.broker
def test_as_they_were_and_marked(decided: Decided) -> None:
    kafka, topic = decided.kafka, "decidedline.replay.frames"
    before = {each.suffix: watermarks(kafka, each.name(kafka.prefix)) for each in TOPICS if each is not AUDIT_LOG}
    said = json.loads(replay(kafka, "--to-topic", topic, "--speed", "max", "--json").stdout)
    assert (said["published"], said["failed"], said["is_finished"]) == (FRAMES + 1, 0, True)
    assert len(said["created"]) == len(TOPICS)
    assert (
        f"inspection worker --bootstrap-servers {kafka.bootstrap_servers} --prefix decidedline.replay"
        in said["commands"]
    )

    def by_place(name: str) -> dict[str, TopicMessage]:
        return {f"{m.topic}-{m.partition}@{m.offset}": m for m in read_topic(kafka, name)}

    originals, copies = by_place(kafka.frames), by_place(topic)
    assert {m.headers[REPLAY_OF_HEADER].decode() for m in copies.values()} == set(originals)
    for message in copies.values():
        original = originals[message.headers[REPLAY_OF_HEADER].decode()]
        assert (message.key, message.value) == (original.key, original.value)
        assert message.partition == original.partition
        assert message.headers[REPLAY_HEADER].decode() == said["run_id"]
        assert int(message.headers[REPLAY_TIMESTAMP_HEADER]) == original.timestamp_us
        assert message.timestamp_us > original.timestamp_us
    after = {each.suffix: watermarks(kafka, each.name(kafka.prefix)) for each in TOPICS if each is not AUDIT_LOG}
    assert after == before


@pytest.mark.broker
def test_spaced_as_captured(line: KafkaSettings) -> None:
    topic = f"{line.prefix}.frames"  # of a line that is for replays by its name
    live = KafkaSettings(line.bootstrap_servers, "elsewhere")
    frames = [stored(number, number * 10_000_000, number % 2) for number in range(4)]
    with pytest.raises(SettingsError):
        republish([frames], live, topic)
    prefix = f"{line.prefix}.replay"
    apply(KafkaSettings(line.bootstrap_servers, prefix))
    began_us = time.time_ns() // 1000
    done = republish([frames[::2], frames[1::2]], live, f"{prefix}.frames", speed=50.0)
    assert (done.published, done.unordered, done.cameras) == (4, 0, {"press/top": 2, "press/left": 1, "press/right": 1})
    sent = sorted(read_topic(line, f"{prefix}.frames"), key=lambda m: m.timestamp_us)
    since_us = [message.timestamp_us - began_us for message in sent]
    # Each 0.2 s after the one before, or later on a slow machine; as it was captured, it would take 30 s.
    assert all(found >= number * 200_000 - 1_000 for number, found in enumerate(since_us)), since_us
    assert since_us[-1] < 15_000_000


@pytest.mark.alone
@pytest.mark.broker
@pytest.mark.long
def test_a_simulated_line_decides_and_only_a_simulated_gate_acts(
    decided: Decided, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Frames of the past through a worker and a gate, by the commands that the replay itself names."""
    kafka = KafkaSettings(decided.kafka.bootstrap_servers, "decidedline.replay.gate")
    apply(kafka)
    worker = WorkerProcess(kafka, model=None, group=kafka.prefix, log=tmp_path / "worker")
    # The cameras of this line give the same ids to different parts: here a part is known by its frame.
    by_frame = [option for number in range(FRAMES) for option in ("--no-part-id", f"P{number}")]
    gates = {}
    for name, at, *options in (
        ("simulated", kafka, "--simulated", *by_frame),
        ("unaware", kafka),
        ("live", decided.kafka),
    ):
        (tmp_path / name).mkdir()
        gates[name] = gate = Programs(tmp_path / name, at.prefix)
        request.addfinalizer(gate.close)
        gate.connect("", {"bootstrap.servers": at.bootstrap_servers})
        gate.start("actuate", "--belt-ms", "4000", "--decide-by-ms", "3500", "--fault-after", "0",
                   "--journal", str(gate.journal), *options, until="gate ready")  # fmt: skip
    worker.await_ready()
    assert replay(decided.kafka, "--to-topic", kafka.frames, "--speed", "10x").exit_code == 0
    wait_for(lambda: sum(end for _, end in watermarks(kafka, kafka.decisions).values()) >= FRAMES)
    gates["simulated"].await_acts(FRAMES)
    for gate in gates.values():
        gate.stop("actuate")
    worker.stop()
    decisions = [decode(m.value, Decision) for m in read_topic(kafka, kafka.decisions)]
    assert {(decision.is_simulated, decision.is_late) for decision in decisions} == {(True, False)}
    assert not any(decision.result_state is ResultState.ABORTED for decision in decisions)
    rows = {name: gate.acts() for name, gate in gates.items()}
    assert (rows["unaware"], rows["live"]) == ([], [])
    acted = {row["part_key"]: row for row in rows["simulated"]}
    assert len(acted) == len(rows["simulated"]) == FRAMES
    for decision in decisions:
        row = acted[decision.frame_id]
        assert (row["why"], row["action"]) == ("decided", decision.action)


def wait_for(met: Callable[[], bool], seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_simulated_programs_need_a_line_of_their_own() -> None:
    for command in ("watch", "actuate"):
        result = CliRunner().invoke(app, [command, "--simulated", "--bootstrap-servers", "127.0.0.1:1"])
        assert isinstance(result.exception, SettingsError)
        assert "a simulated line needs a --prefix with 'replay' between dots" in str(result.exception)
    options = DriftOptions(simulated=True)
    assert WatchSettings(KafkaSettings(prefix="inspection.replay"), options=options).options.simulated


@pytest.mark.broker
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_frames_that_the_topic_refuses_are_said(decided: Decided, form: list[str]) -> None:
    kafka = dataclasses.replace(decided.kafka, prefix=f"decidedline.replay.{'json' if form else 'text'}")
    apply(kafka, [dataclasses.replace(FRAMES_TOPIC, max_message_bytes=100)])
    result = replay(decided.kafka, "--to-topic", kafka.frames, "--speed", "max", *form)
    assert isinstance(result.exception, InspectionError)
    assert str(result.exception).startswith(f"{kafka.frames} has refused {FRAMES + 1} of {FRAMES + 1} frames: ")
    assert "inspection topics diff --bootstrap-servers" in str(result.exception)
    if form:
        said = json.loads(result.stdout)
        assert (said["published"], said["failed"], said["cameras"]) == (0, FRAMES + 1, {})
    else:
        assert f"0 frames published again to {kafka.frames}" in result.stdout


@pytest.mark.parametrize("option", [["--part-s", "2"], ["--tolerate-differences"], ["--out", "run"]])
def test_options_of_an_inspection_are_refused(option: list[str]) -> None:
    result = CliRunner().invoke(app, ["replay", "--last", "1h", "--to-topic", "again", *option])
    assert isinstance(result.exception, SettingsError)
    assert str(result.exception).startswith("--to-topic publishes frames and inspects none")
