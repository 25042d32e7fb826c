"""A worker that stands still ends, with a reason; one that has nothing to do, or no Kafka, does not."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from schemas import Encoding, Frame, KafkaSettings
from schemas.codec import encode
from schemas.ids import frame_id
from stream_processors.worker.metrics import WorkerMetrics
from stream_processors.worker.watchdog import EXIT_STUCK, CommitProgress, GroupOffsets, Watchdog
from tests.support.transactions import abort_transaction

STUCK = {0: (5, 9), 1: (7, 7)}


@pytest.mark.parametrize(
    ("name", "checks", "fires"),
    [
        ("stuck", [STUCK] * 4, True),
        ("lag grows, nothing committed", [{0: (5, 9)}, {0: (5, 20)}, {0: (5, 50)}, {0: (5, 90)}], True),
        ("one look too few", [STUCK] * 3, False),
        ("idle", [{0: (9, 9)}] * 9, False),
        ("slow", [{0: (number, 99)} for number in range(9)], False),
        ("no partitions", [{}] * 9, False),
        ("no Kafka", [STUCK, None] * 9, False),
        ("partitions move", [{0: (5, 9)}, {1: (5, 9)}] * 9, False),
        ("idle before", [{0: (5, 5)}] * 5 + [{0: (5, 6)}] * 2, False),
    ],
)
def test_when_it_fires(name: str, checks: list[GroupOffsets | None], fires: bool) -> None:
    progress = CommitProgress(3)
    assert any([progress.check(offsets) for offsets in checks]) is fires


@given(st.lists(st.none() | st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_never_right_after_progress(checks: list[tuple[int, int] | None]) -> None:
    progress = CommitProgress(3)
    quiet, before = 0, None
    for check in checks:
        offsets = None if check is None else {0: (check[0], check[0] + check[1])}
        quiet = quiet + 1 if offsets is not None and offsets == before and check and check[1] else 0
        fired = progress.check(offsets)
        assert not fired or (check is not None and check[1] > 0)
        if quiet >= 3:
            assert fired
        before = offsets


def run_stuck(line: KafkaSettings, method: str, tmp_path: Path, repository: Path, watchdog_s: float) -> tuple[int, str]:
    """A real worker on a real broker whose method of `FrameProcessor` never returns; its exit status and log."""
    program = f"""
import logging, time
logging.basicConfig(level=logging.INFO)
from stream_processors.worker.frame_processor import FrameProcessor
FrameProcessor.{method} = lambda *_, **__: time.sleep(1000)
from schemas import KafkaSettings
from stream_processors.worker.settings import WorkerSettings
from stream_processors.worker.run import run_worker
run_worker(WorkerSettings(KafkaSettings({line.bootstrap_servers!r}, {line.prefix!r}), group={line.prefix!r},
                          watchdog_s={watchdog_s}, http_port=0))
"""
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=out, stderr=out, cwd=repository)
        try:
            return process.wait(40), log.read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait()


def make_frame(sequence: int) -> bytes:
    image = cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()
    return encode(Frame(
        frame_id=frame_id("s", "c", 1, sequence), line="l", station="s", camera_id="c", started_at_us=1,
        sequence=sequence, captured_at_us=time.time_ns() // 1000, deadline_ms=60_000, encoding=Encoding.PNG,
        width=8, height=8, sha256=hashlib.sha256(image).hexdigest(), image=image,
    ))  # fmt: skip


@pytest.mark.broker
@pytest.mark.faults
@pytest.mark.parametrize(
    "method",
    [
        pytest.param("inspect_all", id="inspection hangs"),
        # It never returns to asyncio: no timer of the loop's own would notice.
        pytest.param("read", id="event loop is blocked"),
    ],
)
def test_a_stuck_worker_ends_with_a_reason(
    line: KafkaSettings, method: str, tmp_path: Path, repository: Path, fault_row: Callable[..., None]
) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for number in range(40):
        producer.produce(line.frames, make_frame(number), f"s/c{number % 6}")
    assert producer.flush(20) == 0
    began = time.monotonic()
    status, log = run_stuck(line, method, tmp_path, repository, watchdog_s=3)
    fault_row(f"worker stuck in {method}: ended by its watchdog", frames=40, ended_after_s=time.monotonic() - began)
    assert status == EXIT_STUCK, log
    assert "40 frames wait in partitions" in log
    assert "none was committed for 3 s" in log


@pytest.mark.broker
@pytest.mark.faults
def test_an_idle_line_and_a_broker_that_is_away_are_no_reason(line: KafkaSettings) -> None:
    ended: list[int] = []
    watchdogs = [
        Watchdog(line, line.prefix, lambda: None, 0.6, WorkerMetrics(), ended.append),
        Watchdog(KafkaSettings("127.0.0.1:9"), "g", lambda: {0}, 0.6, WorkerMetrics(), ended.append),
    ]
    time.sleep(2)
    for watchdog in watchdogs:
        watchdog.stop()
    assert ended == []


@pytest.mark.broker
def test_an_error_that_nobody_expects_ends_no_watchdog(line: KafkaSettings) -> None:
    asked: list[float] = []

    def assigned() -> set[int]:
        asked.append(time.monotonic())
        raise MemoryError

    watchdog = Watchdog(line, line.prefix, assigned, 0.06, WorkerMetrics(), lambda status: None)
    until_s = time.monotonic() + 20
    while len(asked) < 3 and time.monotonic() < until_s:
        time.sleep(0.02)
    watchdog.stop()
    assert len(asked) >= 3


@pytest.mark.broker
def test_what_a_transaction_leaves_behind_is_no_frame_that_waits(line: KafkaSettings) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "transactional.id": line.prefix, "log_level": 0})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(line.frames, make_frame(0), "s/c", partition=0)
    assert producer.flush(20) == 0
    abort_transaction(producer, line, line.frames)
    group = Consumer({"bootstrap.servers": line.bootstrap_servers, "group.id": line.prefix, "log_level": 0})
    group.commit(offsets=[TopicPartition(line.frames, 0, 1)], asynchronous=False)  # a worker reads aborted frames too
    group.close()
    ended: list[int] = []
    metrics = WorkerMetrics()
    watchdog = Watchdog(line, line.prefix, lambda: {0}, 0.6, metrics, ended.append)
    deadline = time.monotonic() + 20  # a child process has to start
    while metrics.registry.get_sample_value("inspection_lag", {"partition": "0"}) != 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    assert ended == []
    assert metrics.registry.get_sample_value("inspection_lag", {"partition": "0"}) == 0
    producer.begin_transaction()
    producer.produce(line.frames, make_frame(1), "s/c", partition=0)
    assert producer.flush(20) == 0
    deadline = time.monotonic() + 20
    while not ended and time.monotonic() < deadline:
        time.sleep(0.1)
    watchdog.stop()
    assert ended == [EXIT_STUCK], "the frame waits although its transaction is open"
    abort_transaction(producer, line, line.frames)
