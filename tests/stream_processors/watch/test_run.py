"""`inspection watch` on the real broker: what it says, and that no kill or rebalance loses or repeats any of it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from infra.demo.processes import ServedProcess
from models.measure_reference import write_reference
from models.package import default_model_path
from models.reference import Reference
from monitoring.drift import CameraWatch
from schemas import Decision, DriftType, KafkaSettings, Label, Verdict
from schemas.codec import encode
from schemas.records import Action, EpisodeState
from stream_processors.watch.state import Snapshot, read_snapshots
from tests.support.bombs import send_bomb
from tests.support.drift_events import await_facts, await_watched, events, facts
from tests.support.hostile_snapshots import hostile
from tests.support.partitions import add_partitions, delivered
from tests.support.streams import REFERENCE, decision, rows
from tests.support.transactions import abort_transaction

pytestmark = pytest.mark.broker

SHIFT = {"brightness": -1.0}
BEFORE, AFTER = 800, 300


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The model package that ships, with the reference of the synthetic line."""
    import shutil

    copied = tmp_path / "package"
    shutil.copytree(default_model_path(), copied)
    write_reference(copied, Reference(REFERENCE, {}))
    return copied


@pytest.fixture
def start(line: KafkaSettings, package: Path, tmp_path: Path) -> Iterator[Callable[..., ServedProcess]]:
    """Start `inspection watch`; ends what was started."""
    started: list[ServedProcess] = []

    def one(*options: str) -> ServedProcess:
        arguments = ["--model", str(package), "--snapshot-s", "0.5", *options]
        log = tmp_path / f"watch{len(started)}.log"
        process = ServedProcess("watch", line, group=f"{line.prefix}-watch", log=log, options=arguments)
        started.append(process)
        return process

    yield one
    for process in started:
        process.stop()


def model_sha256(package: Path) -> str:
    from models.package import load_reference

    return load_reference(package)[0]


def stream(camera: str, seed: int, sha256: str) -> list[Decision]:
    """Decisions of a camera whose light fails after `BEFORE` frames."""
    now_us = time.time_ns() // 1000
    signals = [*rows(BEFORE, seed), *rows(AFTER, seed + 1, SHIFT)]
    return [
        dataclasses.replace(
            decision(number, row),
            camera_id=camera,
            frame_id=f"press.{camera}.1.{number:08d}",
            model_sha256=sha256,
            decided_at_us=now_us,
            decision_id=f"{camera}-{number}",
            action=Action.ACCEPT,
            verdict=Verdict.OK,
        )
        for number, row in enumerate(signals)
    ]


def publish(line: KafkaSettings, records: list[Decision] | list[Label]) -> None:
    producer = Producer(
        {"bootstrap.servers": line.bootstrap_servers, "partitioner": "murmur2_random", "enable.idempotence": True}
    )
    for record in records:
        topic = line.decisions if isinstance(record, Decision) else line.labels
        producer.produce(topic, encode(record), record.key)
        producer.poll(0)
    assert producer.flush(30) == 0


def expected(*streams: list[Decision]) -> list[tuple[object, ...]]:
    """What the pure watch of each camera says."""
    found = []
    for decisions in streams:
        watch = CameraWatch(lambda model, product: REFERENCE)
        for one in decisions:
            found += watch.decision(one, now_us=0)
    assert found
    return facts(found)


@pytest.mark.long
def test_events_come_once_and_survive_kills(line, start, package):
    cameras = [stream(f"cam{number}", 10 * number, model_sha256(package)) for number in range(3)]
    first = start()
    first.await_ready()
    at = [BEFORE - 100, BEFORE + 20, BEFORE + 100, BEFORE + AFTER]
    process, begin = first, 0
    for number, end in enumerate(at):
        publish(line, [one for camera in cameras for one in camera[begin:end]])
        begin = end
        if number == len(at) - 1:
            break
        time.sleep(1.0)
        os.kill(process.pid, signal.SIGKILL)
        process.stop()
        process = start()
        process.await_ready()
    await_watched(process, 3 * (BEFORE + AFTER))
    assert process.stop() == 0
    found = events(line)
    by_id = {event.event_id: event for event in found}
    assert facts(list(by_id.values())) == expected(*cameras)
    # What is said again after a kill is the same in all but the time.
    assert all(
        dataclasses.replace(e, emitted_at_us=by_id[e.event_id].emitted_at_us) == by_id[e.event_id] for e in found
    )


@pytest.mark.long
def test_told_to_stop_it_writes_down_what_it_has_seen(line, start, package):
    # Nothing is written before: what is held when it is told to stop must not keep it from stopping.
    process = start("--snapshot-s", "600")
    process.await_ready()
    publish(line, stream("cam", 1, model_sha256(package))[:100])
    deadline = time.monotonic() + 30
    while process.metric("inspection_watch_seconds_count") < 100:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    began = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - began < 8
    group = Consumer({"bootstrap.servers": line.bootstrap_servers, "group.id": f"{line.prefix}-watch", "log_level": 0})
    partitions = [TopicPartition(line.decisions, number) for number in range(6)]
    assert sum(max(0, found.offset) for found in group.committed(partitions, timeout=10)) == 100
    group.close()
    assert sum(len(read_snapshots(line, number)) for number in range(6)) == 1


@pytest.mark.long
def test_two_share_the_cameras_and_hand_them_over(line, start, package):
    cameras = [stream(f"cam{number}", 10 * number, model_sha256(package)) for number in range(6)]
    first = start()
    first.await_ready()
    publish(line, [one for camera in cameras for one in camera[: BEFORE - 200]])
    second = start()
    second.await_ready()
    publish(line, [one for camera in cameras for one in camera[BEFORE - 200 : BEFORE + 15]])
    time.sleep(3)
    assert first.stop() == 0
    publish(line, [one for camera in cameras for one in camera[BEFORE + 15 :]])
    # A count of decisions would not do: what is read again after a hand-over is seen, not watched.
    await_facts(second, line, expected(*cameras))
    assert second.stop() == 0


def test_garbage_is_counted_and_stops_nothing(line, start, package):
    [camera] = [stream("cam", 1, model_sha256(package))]
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True})
    good = encode(camera[0])
    for topic in (line.decisions, line.labels):
        for value in (b"", b"junk", None, good[:-3], good + b"x", b"\xc3\x01" + b"\0" * 8, os.urandom(5000)):
            for partition in range(6):
                producer.produce(topic, value, "press/cam", partition=partition)
    for partition in range(6):
        producer.produce(line.drift_state, b"ID1 no snapshot", "press/cam", partition=partition)
        snapshot = Snapshot({line.decisions: 0}, {"data": b"junk", "quality": b"junk", "concept": b"junk"})
        producer.produce(line.drift_state, snapshot.dumps(), "press/cam", partition=partition)
    assert producer.flush(20) == 0
    process = start()
    process.await_ready()
    publish(line, camera)
    await_watched(process, BEFORE + AFTER)
    assert process.metric("inspection_watch_unreadable_total") >= 2 * 6 * 6
    assert facts(events(line)) == expected(camera)


@pytest.mark.long
def test_no_snapshot_ends_or_blinds_it_and_invented_cameras_are_forgotten(line, start, package, tmp_path):
    """Write hostile state, and a flood of cameras, beside one camera whose light fails."""
    [camera] = [stream("cam", 1, model_sha256(package))]
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True})
    for partition in range(6):
        for number in range(60):  # sound snapshots of cameras that do not exist
            snapshot = Snapshot({line.decisions: 0}, {}).dumps()
            producer.produce(line.drift_state, snapshot, f"invented/{partition}-{number}", partition=partition)
        for value in (one for one in hostile(line.decisions).values() if len(one) < 1_000_000):
            producer.produce(line.drift_state, value, "press/cam", partition=partition)
    assert producer.flush(60) == 0
    process = start("--max-cameras", "20")
    process.await_ready()
    invented = [
        dataclasses.replace(camera[0], station="invented", camera_id=str(number), frame_id=f"invented.{number}")
        for number in range(200)
    ]
    mixed = [one for number, real in enumerate(camera) for one in (real, *invented[number : number + 1])]
    publish(line, mixed)
    deadline, wanted = time.monotonic() + 180, expected(camera)
    while (found := facts([event for event in events(line) if event.station == "press"])) != wanted:
        assert process.alive(), process.last_line()
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    # The partitions are restored one after the other, that of the camera perhaps before the others.
    while process.metric("inspection_watch_forgotten_cameras_total") < 6 * 40 + 150:
        assert time.monotonic() < deadline, process.metric("inspection_watch_forgotten_cameras_total")
        time.sleep(0.2)
    assert process.metric("inspection_watch_void_snapshots_total") >= 6
    assert process.stop() == 0
    log = (tmp_path / "watch0.log").read_text()
    assert "lies beyond its end" in log
    assert "begin from scratch" in log
    assert log.count("is void") <= 6 * 10
    # Forgotten cameras are removed from the topic too: only cameras that are kept, or waited, are found again.
    assert sum(len(read_snapshots(line, number)) for number in range(6)) <= 6 * 20 + 22


@pytest.mark.long
def test_neither_batch_nor_transaction_nor_new_partitions_stop_it(line, start, package):
    [camera] = [stream("cam", 1, model_sha256(package))]
    process = start()
    process.await_ready()
    publish(line, camera[:100])
    send_bomb(line.bootstrap_servers, line.decisions, count=2, key=camera[0].key)
    stranger = Producer({"bootstrap.servers": line.bootstrap_servers, "transactional.id": line.prefix, "log_level": 0})
    stranger.init_transactions(20)
    stranger.begin_transaction()
    for partition in range(6):
        stranger.produce(line.decisions, b"never ended", partition=partition)
    assert stranger.flush(20) == 0
    publish(line, camera[100:200])
    await_watched(process, 200)
    for topic in (line.decisions, line.labels, line.drift_state):
        add_partitions(line.bootstrap_servers, topic, 8)
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True})
    for one in stream("other", 2, model_sha256(package))[:20]:
        producer.produce(line.decisions, encode(one), one.key, partition=7, on_delivery=delivered)
    assert producer.flush(20) == 0
    # Its snapshot lies in the new partition too. What the metric shows of the first camera depends on the rebalance.
    deadline = time.monotonic() + 90
    while not (found := read_snapshots(line, 7)) or found["press/other"].offsets[line.decisions] < 20:
        assert process.alive(), process.last_line()
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    abort_transaction(stranger, line, line.decisions)


@pytest.mark.long
def test_labels_that_contradict_open_an_episode_of_concept_drift(line, start, package):
    row = list(rows(3000, 5))
    now_us, sha256 = time.time_ns() // 1000, model_sha256(package)
    decisions = [
        dataclasses.replace(
            decision(n, row[n]),
            model_sha256=sha256,
            decided_at_us=now_us,
            decision_id=str(n),
            action=Action.ACCEPT,
            verdict=Verdict.OK,
            captured_at_us=now_us + n,
        )
        for n in range(3000)
    ]
    labels = [
        Label(
            label_id=str(n),
            station="press",
            camera_id="top",
            frame_id=decisions[n].frame_id,
            labelled_by="test",
            truth=Verdict.NOT_OK if n > 1500 and n % 4 == 0 else Verdict.OK,
            labelled_at_us=now_us + n,
            sampled_because="random",
        )
        for n in range(0, 3000, 2)
    ]
    process = start()
    process.await_ready()
    publish(line, labels[:200])  # labels before their decisions
    publish(line, decisions)
    publish(line, labels[100:])
    deadline = time.monotonic() + 40
    while not (found := [e for e in events(line) if e.drift_type is DriftType.CONCEPT]):
        assert process.alive(), process.last_line()
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert found[0].state is EpisodeState.OPENED
    assert found[0].signals[0].signal == "error_rate.escapes"
    assert found[0].signals[0].before < 0.05
    assert found[0].signals[0].after > 0.2
    time.sleep(1)
    assert process.metric("inspection_watch_error_rate") > 0.2


def test_a_webhook_is_told(line, start, package):
    told: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        process = start("--webhook", f"http://127.0.0.1:{server.server_port}/hook")
        process.await_ready()
        publish(line, stream("cam", 1, model_sha256(package)))
        await_watched(process, BEFORE + AFTER)
        process.stop()
    finally:
        server.shutdown()
        server.server_close()
    assert told[0]["event"]["state"] == "OPENED"
    assert "brightness" in str(told[0])


@pytest.mark.long
def test_a_camera_in_another_partition_has_its_own_snapshot(line, start, package):
    [camera] = [stream("cam", 1, model_sha256(package))]
    process = start()
    process.await_ready()
    publish(line, camera[:50])
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True})
    for partition in range(6):
        for one in camera[100:103]:
            producer.produce(line.decisions, encode(one), one.key, partition=partition)
    assert producer.flush(20) == 0
    deadline = time.monotonic() + 60
    while sum(len(read_snapshots(line, number)) for number in range(6)) < 6:
        assert process.alive(), process.last_line()
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert process.stop() == 0
    snapshots = [read_snapshots(line, number)[camera[0].key] for number in range(6)]
    assert sorted(snapshot.offsets[line.decisions] for snapshot in snapshots) == [3, 3, 3, 3, 3, 53]


def test_topics_that_do_not_fit_are_named(broker, unique, package, tmp_path):
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    counts = {"decisions": 2, "labels": 3, "drift-state": 2, "drift": 1}
    made = admin.create_topics([NewTopic(f"{unique}.{name}", count, 1) for name, count in counts.items()])
    for future in made.values():
        future.result(20)
    line = KafkaSettings(broker.bootstrap_servers, unique)
    process = ServedProcess("watch", line, group=unique, log=tmp_path / "log", options=["--model", str(package)])
    assert process.wait() == 1
    assert "different numbers of partitions" in process.last_line()


def test_a_model_without_its_package_is_named_once(line, start, package, tmp_path):
    process, stranger = start(), "ab" * 32
    process.await_ready()
    of_both = [
        stream(f"cam{number}", number, sha)[:20] for sha in (stranger, model_sha256(package)) for number in (1, 2)
    ]
    publish(line, [one for camera in of_both for one in camera])
    await_watched(process, 40)
    assert process.stop() == 0
    said = [row for row in (tmp_path / "watch0.log").read_text().splitlines() if "has no package of the model" in row]
    assert len(said) == 1
    assert f"sha256 {stranger}" in said[0]
    assert "start the watch with --model" in said[0]
