"""Batches that end the process that fetches them: left out at the second start, and nothing else is."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from infra.demo.processes import ServedProcess, inspection_command
from schemas import DeadLetter, Decision, KafkaSettings
from schemas.codec import decode, encode
from tests.support.bombs import send_bomb
from tests.support.topics import committed, read_all
from tests.support.worker_frames import make_frame, publish
from tests.support.workers import StartWorker
from transport.batch_trials.after_death import BatchTrials
from transport.batch_trials.trial import Tried
from transport.batches import BOUNDED, UNDECODABLE_BATCH, UnreadableBatch
from transport.deaths import Deaths

# A trial has limits of time: on a busy machine it proves nothing.
pytestmark = [pytest.mark.broker, pytest.mark.long, pytest.mark.alone]

#: Memory of a process that shall die, and what the batch unpacks to.
LIMIT_BYTES, BOMB_BYTES = 1024**3, 700_000_000
_LIMITED = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (%d,) * 2); os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.fixture
def _limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start workers and watches with a limit of memory."""

    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-c", _LIMITED % LIMIT_BYTES, *inspection_command(*arguments)]

    monkeypatch.setattr("infra.demo.processes.inspection_command", command)


def frames(line: KafkaSettings, first: int, count: int) -> set[str]:
    made = [make_frame(number) for number in range(first, first + count)]
    publish(line, [(frame.key, encode(frame)) for frame in made])
    return {frame.frame_id for frame in made}


def decided(line: KafkaSettings, wanted: set[str]) -> set[str]:
    found: set[str] = set()
    deadline_s = time.monotonic() + 60
    while not found >= wanted and time.monotonic() < deadline_s:
        found = {decode(value, Decision).frame_id for value in read_all(line, line.decisions, len(wanted), 2)}
    return found


@pytest.mark.faults
@pytest.mark.usefixtures("_limited")
def test_a_batch_that_ends_the_worker_is_left_out_at_the_second_start(
    line: KafkaSettings, start_worker: StartWorker, tmp_path: Path, fault_row: Any
) -> None:
    options = ("--state-dir", str(tmp_path / "state"))
    worker = start_worker(*options)
    wanted = frames(line, 0, 3)
    assert decided(line, wanted) == wanted
    os.kill(worker.pid, signal.SIGSTOP)  # so that it fetches frames and batch at once
    wanted |= frames(line, 3, 5)
    send_bomb(line.bootstrap_servers, line.frames, key=make_frame(0).key, codec="gzip", size=BOMB_BYTES)
    wanted |= frames(line, 8, 5)
    os.kill(worker.pid, signal.SIGCONT)
    assert worker.wait(60) != 0
    began_s = time.monotonic()
    second = start_worker(*options)
    assert decided(line, wanted) == wanted
    took_s = time.monotonic() - began_s
    [letter] = [decode(value, DeadLetter) for value in read_all(line, line.dead_letters, 1)]
    assert (letter.kind, letter.source_offset) == (UNDECODABLE_BATCH, 8)
    assert "(1) are a batch that no client reads: " in letter.reason
    # It goes on behind the batch, and is not tried at a start that follows a stop.
    wanted |= frames(line, 13, 2)
    assert decided(line, wanted) == wanted
    assert second.stop() == 0
    assert committed(line) == 16
    assert list((tmp_path / "state").rglob("*.hand")) == []
    fault_row("batch that ends the worker", second_start_s=took_s)


@pytest.mark.faults
def test_frames_that_waited_at_a_kill_are_all_answered(
    line: KafkaSettings, start_worker: StartWorker, tmp_path: Path
) -> None:
    options = ("--state-dir", str(tmp_path / "state"))
    worker = start_worker(*options)
    os.kill(worker.pid, signal.SIGSTOP)
    wanted = frames(line, 0, 300)
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    second = start_worker(*options)
    assert decided(line, wanted) == wanted
    log = second.log_path.read_text()
    assert "what follows was tried in" in log
    assert "left out" not in log
    assert read_all(line, line.dead_letters, 1, 1) == []
    assert second.stop() == 0
    # A stop leaves nothing behind: once the mark is old, a start has no trial.
    next((tmp_path / "state").rglob("died")).write_text("1.0")
    third = start_worker(*options)
    assert third.stop() == 0
    assert "tried" not in third.log_path.read_text()


@pytest.mark.faults
@pytest.mark.usefixtures("_limited")
def test_a_batch_that_ends_the_watch_is_left_out_at_the_second_start(line: KafkaSettings, tmp_path: Path) -> None:
    def start(number: int) -> ServedProcess:
        watch = ServedProcess("watch", line, group=line.prefix, log=tmp_path / f"watch-{number}.log")
        watch.await_ready()
        return watch

    with start(0) as watch:
        send_bomb(line.bootstrap_servers, line.labels, partition=0, codec="gzip", size=BOMB_BYTES)
        assert watch.wait(60) != 0
    with start(1) as second:
        deadline_s = time.monotonic() + 60
        while not second.metric("inspection_watch_unreadable_total") and time.monotonic() < deadline_s:
            time.sleep(0.2)
        assert second.metric("inspection_watch_unreadable_total") == 1
        assert second.stop() == 0


def tried(line: KafkaSettings, offset: int = 0, watchdog_s: float = 0.0) -> Tried | None:
    """Return what a trial of partition 0 finds."""
    trials = BatchTrials(line, Deaths(None), 32 * 1024**2, watchdog_s)
    places = [TopicPartition(line.frames, 1, -1001), TopicPartition(line.frames, 0, offset)]
    found = trials.try_out(places, lambda: False)
    assert set(found) <= {(line.frames, 0)}
    return found.get((line.frames, 0))


def send_one(line: KafkaSettings, **options: Any) -> None:
    send_bomb(line.bootstrap_servers, line.frames, partition=0, **options)


def test_the_messages_between_batches_are_handed_over(line: KafkaSettings) -> None:
    """Four batches in one partition, of which three have several messages."""
    send_one(line, codec="none", size=1000, key="a")
    send_one(line, codec="gzip", size=BOMB_BYTES, count=300)  # offsets 1 to 300
    send_one(line, codec="lz4", size=3000, count=3)
    send_one(line, codec="lz4", size=BOMB_BYTES // 2, count=6)  # 304 to 309
    send_one(line, codec="none", size=10, key="b")
    send_one(line, codec="gzip", size=BOMB_BYTES // 2)  # 311
    send_one(line, codec="lz4", size=BOMB_BYTES // 2, count=2)  # 312 and 313
    send_one(line, codec="none", size=10)
    found = tried(line, -1001)
    assert found is not None
    assert found.following == 314
    places = [(each.first, each.following) for each in found.records if isinstance(each, UnreadableBatch)]
    assert places == [(1, 301), (304, 310), (311, 312), (312, 314)]
    messages = [each for each in found.records if not isinstance(each, UnreadableBatch)]
    assert [(each.offset(), len(each)) for each in messages] == [
        (0, 1000),
        (301, 1000),
        (302, 1000),
        (303, 1000),
        (310, 10),
    ]
    assert (messages[0].key(), messages[0].value(), messages[-1].key()) == (b"a", bytes(1000), b"b")
    # A reader that begins further on needs less.
    assert found.since(303) == found.records[4:]
    assert found.since(314) == []


def test_batches_that_the_client_does_not_unpack_are_handed_over_too(line: KafkaSettings) -> None:
    send_one(line, count=3)  # zstd, which the client bounds
    send_one(line, codec="none", size=10)
    send_one(line, count=2)
    send_one(line, codec="lz4", size=BOMB_BYTES // 2)
    send_one(line, codec="none", size=10)
    found = tried(line)
    assert found is not None
    places = [(each.first, each.following) for each in found.records if isinstance(each, UnreadableBatch)]
    assert (places, len(found.records), found.following) == ([(0, 3), (4, 6), (6, 7)], 4, 7)


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy"])
def test_the_largest_batch_that_a_reader_accepts_passes(line: KafkaSettings, codec: str) -> None:
    send_one(line, codec=codec, size=BOUNDED["receive.message.max.bytes"] - 1_000_000)
    assert tried(line) is None


def test_a_batch_that_a_reader_skips_itself_is_left_to_it(line: KafkaSettings) -> None:
    send_one(line, count=3)  # zstd
    send_one(line, codec="none", size=10)
    assert tried(line) is None


def test_a_trial_that_has_no_time_says_nothing(line: KafkaSettings) -> None:
    send_one(line, codec="gzip", size=BOMB_BYTES // 2)
    assert tried(line, watchdog_s=0.03) is None
