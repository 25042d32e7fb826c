"""The worker as a process, on the real broker."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from infra.demo.processes import WorkerProcess
from schemas import Action, DeadLetter, Decision, Encoding, KafkaSettings, ResultState
from schemas.codec import decode, encode
from schemas.errors import SettingsError
from schemas.letters import whole_size
from schemas.origin_headers import GROUP_HEADER, WORKER_HEADER
from schemas.topics import FRAMES, MAX_REQUEST_BYTES
from stream_processors.faust_host.consumer import FETCH_BYTES
from stream_processors.worker.run import run_worker
from stream_processors.worker.settings import WorkerSettings
from tests.support.topics import committed, read_all, read_decisions
from tests.support.worker_frames import decided_by, make_frame, publish
from tests.support.workers import StartWorker
from transport.loopback import open_direct
from transport.range_reader import read_topic

pytestmark = pytest.mark.broker


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
    for message in read_topic(line, line.decisions):
        assert message.headers[GROUP_HEADER] == line.prefix.encode()
        assert message.headers[WORKER_HEADER].endswith(f"/{worker.pid}".encode())
    with open_direct(worker.url + "/metrics", 5) as answer:
        page = answer.read().decode()
    assert f'inspection_decisions_total{{action="REJECT",camera="demo/cam1",group="{line.prefix}"}}' in page


def test_a_session_timeout_that_the_broker_refuses_ends_it_with_the_reason(line: KafkaSettings, tmp_path: Path) -> None:
    worker = WorkerProcess(
        line, model=None, group=line.prefix, log=tmp_path / "worker.log", options=["--session-timeout-s", "0.6"]
    )
    with worker:
        assert worker.wait() == 1
        assert "group.min.session.timeout.ms" in worker.last_line()


def test_a_signing_key_that_cannot_be_read_is_told_before_the_worker_joins_its_group(
    line: KafkaSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(SettingsError, match="no-key: No such file"):
        run_worker(WorkerSettings(kafka=replace(line, signing_key=str(tmp_path / "no-key")), http_port=0))
    assert "Crashed" not in caplog.text
    assert "Starting" not in caplog.text


def test_what_waits_in_memory_is_bounded_by_bytes(line: KafkaSettings, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (960, 1280), dtype=np.uint8)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    frames = [
        replace(make_frame(number), encoding=Encoding.PNG, width=1280, height=960, image=data,
                sha256=hashlib.sha256(data).hexdigest())
        for number in range(60)
    ]  # fmt: skip
    messages = [(frame.key, encode(frame)) for frame in frames]
    options = ["--buffer-mib", "8", "--threads", "1", "--overload", "everything"]
    held = []
    publish(line, messages)
    with WorkerProcess(line, model=None, group=line.prefix, log=tmp_path / "worker.log", options=options) as worker:
        worker.await_ready()
        # A quick worker may have answered all of them before it was seen to be ready, so they come once more.
        sending = threading.Thread(target=publish, args=(line, messages))
        sending.start()
        deadline = time.monotonic() + 60
        while worker.metric("inspection_decisions_total") < 2 * len(frames) and time.monotonic() < deadline:
            held.append(worker.metric("inspection_held_bytes"))
        sending.join()
        assert worker.metric("inspection_decisions_total") == 2 * len(frames)
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
    decisions = read_decisions(line, 600)
    assert {d.frame_id for d in decisions} == {f.frame_id for f in frames}
    ids: dict[str, set[str]] = {}
    for decision in decisions:
        ids.setdefault(decision.frame_id, set()).add(f"{decision.decision_id} {decision.action}")
    assert all(len(found) == 1 for found in ids.values())
    assert all(decided_by(worker) > 0 for worker in (first, second))


@pytest.mark.long
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
    decisions = read_decisions(line, 200)
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
    found: dict[str, set[str]] = {}
    for decision in read_decisions(line, 300, 60):
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
