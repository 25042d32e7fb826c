"""The worker as a process, on the real broker."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from infra.demo.processes import WorkerProcess
from schemas import Action, DeadLetter, Decision, Encoding, Frame, KafkaSettings, ResultState
from schemas.codec import decode, encode
from schemas.ids import frame_id
from schemas.letters import whole_size
from schemas.topics import FRAMES, MAX_REQUEST_BYTES
from stream_processors.faust_host.consumer import FETCH_BYTES
from transport.loopback import open_direct

pytestmark = pytest.mark.broker

StartWorker = Callable[..., WorkerProcess]


def image(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (120, 160), dtype=np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def make_frame(sequence: int, camera: str = "cam1") -> Frame:
    data = image(sequence)
    return Frame(
        frame_id=frame_id("demo", camera, 1, sequence), line="l", station="demo", camera_id=camera, started_at_us=1,
        sequence=sequence, captured_at_us=time.time_ns() // 1000, deadline_ms=60_000, encoding=Encoding.JPEG,
        width=160, height=120, sha256=hashlib.sha256(data).hexdigest(), image=data,
    )  # fmt: skip


def publish(line: KafkaSettings, values: list[tuple[str, bytes]], pause_s: float = 0.0) -> None:
    producer = Producer(
        {"bootstrap.servers": line.bootstrap_servers, "message.max.bytes": FRAMES.max_message_bytes, "log_level": 0}
    )
    failed: list[object] = []
    for key, value in values:
        producer.produce(line.frames, value, key, on_delivery=lambda error, _: error and failed.append(error))
        producer.poll(0)
        time.sleep(pause_s)
    assert producer.flush(20) == 0
    assert not failed


def read_all(line: KafkaSettings, topic: str, wanted: int, timeout_s: float = 30) -> list[bytes]:
    """Read a topic from its start until so many messages are there, and then whether more come."""
    consumer = Consumer(
        {"bootstrap.servers": line.bootstrap_servers, "group.id": "reader", "enable.auto.commit": False, "log_level": 0}
    )
    partitions = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    values: list[bytes] = []
    deadline = time.monotonic() + timeout_s
    while len(values) < wanted and time.monotonic() < deadline:
        values += [m.value() or b"" for m in consumer.consume(500, 0.2) if m.error() is None]
    values += [m.value() or b"" for m in consumer.consume(500, 0.5) if m.error() is None]
    consumer.close()
    return values


def committed(line: KafkaSettings) -> int:
    """Sum of the group's committed offsets: the frames it will not read again."""
    consumer = Consumer({"bootstrap.servers": line.bootstrap_servers, "group.id": line.prefix, "log_level": 0})
    wanted = [TopicPartition(line.frames, p) for p in range(FRAMES.partitions)]
    offsets = consumer.committed(wanted, timeout=10)
    consumer.close()
    return sum(max(0, found.offset) for found in offsets)


def test_hostile_messages_are_answered_and_stop_nothing(line: KafkaSettings, start_worker: StartWorker) -> None:
    worker = start_worker()
    forged = b"\xff\xd8\xff\xc0\x00\x11\x08" + (30000).to_bytes(2, "big") * 2 + b"\x03" + bytes(300_000) + b"\xff\xd9"
    broken = {1: b"no image", 2: forged}
    with_identity = [
        replace(make_frame(100 + i), image=data, sha256=hashlib.sha256(data).hexdigest()) for i, data in broken.items()
    ]
    hostile = [encode(frame) for frame in with_identity]
    hostile += [b"\xc3\x01" + bytes(8) + b"unknown fingerprint", b"", np.random.default_rng(0).bytes(10_000_000)]
    hostile += [encode(make_frame(200))[:-1], encode(make_frame(201)) + b"tail"]
    good = [make_frame(i) for i in range(30)]
    values: list[tuple[str, bytes]] = []
    for index, frame in enumerate(good):
        values.append((frame.key, encode(frame)))
        if index % 4 == 0 and index // 4 < len(hostile):
            values.append((frame.key, hostile[index // 4]))
    publish(line, values)

    decisions = [decode(value, Decision) for value in read_all(line, line.decisions, 32)]
    letters = [decode(value, DeadLetter, max_bytes=MAX_REQUEST_BYTES) for value in read_all(line, line.dead_letters, 7)]
    by_id = {decision.frame_id: decision for decision in decisions}
    assert len(decisions) == len(by_id) == 32
    assert {by_id[frame.frame_id].result_state for frame in good} == {ResultState.COMPLETED}
    for frame in with_identity:
        assert by_id[frame.frame_id].action is Action.REJECT
        assert by_id[frame.frame_id].result_state is ResultState.FAILED
    kinds = sorted(letter.kind for letter in letters)
    assert kinds == [
        "empty-message", "image-too-large", "trailing-bytes", "truncated", "unknown-schema", "unknown-schema",
        "unreadable-image",
    ]  # fmt: skip
    assert max(whole_size(letter) or 0 for letter in letters) == 10_000_000
    assert psutil.Process(worker.pid).memory_info().rss < 600 * 1024 * 1024


def test_what_waits_in_memory_is_bounded_by_bytes(line: KafkaSettings, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (960, 1280), dtype=np.uint8)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    frames = [
        replace(make_frame(number), encoding=Encoding.PNG, width=1280, height=960, image=data,
                sha256=hashlib.sha256(data).hexdigest())
        for number in range(60)
    ]  # fmt: skip
    publish(line, [(frame.key, encode(frame)) for frame in frames])
    options = ["--buffer-mib", "8", "--threads", "1", "--overload", "everything"]
    held = []
    with WorkerProcess(line, model=None, group=line.prefix, log=tmp_path / "worker.log", options=options) as worker:
        worker.await_ready()
        deadline = time.monotonic() + 30
        while worker.metric("inspection_decisions_total") < len(frames) and time.monotonic() < deadline:
            held.append(worker.metric("inspection_held_bytes"))
        assert worker.metric("inspection_decisions_total") == len(frames)
    # A fetch is added when the budget is not used up yet.
    assert 4 * len(data) < max(held) < 8 * 2**20 + FETCH_BYTES + 2 * len(data)


@pytest.mark.long
def test_a_second_worker_takes_its_share(line: KafkaSettings, start_worker: StartWorker) -> None:
    cameras = ["cam1", "cam2", "cam3", "cam4", "cam5", "cam6"]
    frames = [make_frame(i, cameras[i % 6]) for i in range(600)]
    first = start_worker()
    publish(line, [(f.key, encode(f)) for f in frames[:100]])
    second = None
    for start in range(100, 600, 100):
        publish(line, [(f.key, encode(f)) for f in frames[start : start + 100]], pause_s=0.005)
        second = second or start_worker()
    assert second is not None
    decisions = [decode(value, Decision) for value in read_all(line, line.decisions, 600)]
    assert {d.frame_id for d in decisions} == {f.frame_id for f in frames}
    ids: dict[str, set[str]] = {}
    for decision in decisions:
        ids.setdefault(decision.frame_id, set()).add(f"{decision.decision_id} {decision.action}")
    assert all(len(found) == 1 for found in ids.values())
    assert all(decided_by(worker) > 0 for worker in (first, second))


def decided_by(worker: WorkerProcess) -> int:
    with open_direct(worker.url + "/metrics", 5) as answer:
        lines = answer.read().decode().splitlines()
    return int(sum(float(row.split()[-1]) for row in lines if row.startswith("inspection_decisions_total")))


def test_a_graceful_stop_commits_all_it_answered(line: KafkaSettings, start_worker: StartWorker) -> None:
    frames = [make_frame(i) for i in range(200)]
    worker = start_worker()
    publish(line, [(f.key, encode(f)) for f in frames])
    while decided_by(worker) < 20:
        time.sleep(0.01)
    assert worker.stop() == 0
    answered = len(read_all(line, line.decisions, 1))
    assert committed(line) == answered
    start_worker()
    decisions = [decode(value, Decision) for value in read_all(line, line.decisions, 200)]
    assert sorted(d.frame_id for d in decisions) == sorted(f.frame_id for f in frames)


@pytest.mark.long
def test_a_killed_worker_loses_nothing(line: KafkaSettings, start_worker: StartWorker) -> None:
    frames = [make_frame(i) for i in range(300)]
    worker = start_worker()
    publish(line, [(f.key, encode(f)) for f in frames])
    while decided_by(worker) < 30:
        time.sleep(0.01)
    psutil.Process(worker.pid).kill()
    worker.stop()
    assert committed(line) <= len(read_all(line, line.decisions, 1))
    start_worker()
    deadline = time.monotonic() + 40
    found: dict[str, set[str]] = {}
    while len(found) < 300 and time.monotonic() < deadline:
        for value in read_all(line, line.decisions, 300, 5):
            decision = decode(value, Decision)
            found.setdefault(decision.frame_id, set()).add(f"{decision.decision_id} {decision.verdict}")
    assert set(found) == {f.frame_id for f in frames}
    assert all(len(ids) == 1 for ids in found.values())


def test_health_and_metrics_listen_on_loopback_only(
    line: KafkaSettings, start_worker: StartWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No folder can be made there, as on a read-only root file system.
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))
    worker = start_worker()
    with urllib.request.urlopen(worker.url + "/health", timeout=5) as answer:
        health = json.load(answer)
    assert health["ok"]
    assert health["model"]["name"] == "elpv-cells"
    assert len(health["assigned"]) == FRAMES.partitions
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(worker.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
