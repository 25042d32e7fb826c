"""A sink that is killed with SIGKILL at any moment, and started again: the archive is exactly the topic."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from confluent_kafka import Producer

from replay.archive import Archive, ArchiveStore
from replay.archive.layout import parse_commit_name
from replay.archive.verify import verify
from replay.past.source import Source
from schemas import Frame, KafkaSettings
from schemas.codec import encode
from tests.support.past import make_frame

pytestmark = pytest.mark.broker
COMMAND = [sys.executable, "-c", "from infra.cli.root import main; main()", "archive"]
KILLS = 6


def command(line: KafkaSettings, uri: Path, *arguments: str) -> list[str]:
    options = ["--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix]
    return [*COMMAND, *options, "--to", str(uri), "--only", "frames", *arguments]


def commits_of(uri: Path) -> int:
    return sum(parse_commit_name(str(path.relative_to(uri))) is not None for path in uri.rglob("*.json"))


@pytest.mark.long
def test_killed_again_and_again_it_archives_everything_once(line: KafkaSettings, tmp_path: Path) -> None:
    chance = random.Random()
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    count = 6000
    for number in range(count):
        frame = make_frame(number, f"press/c{number % 4}", image=os.urandom(15_000))
        producer.produce(line.frames, encode(frame), partition=number % 3, timestamp=frame.captured_at_us // 1000)
        producer.poll(0)
    assert producer.flush(60) == 0
    uri = tmp_path / "archive"
    seen, unfinished = 0, 0
    for _ in range(KILLS):
        process = subprocess.Popen(command(line, uri, "--file-mib", "1.5"), stderr=subprocess.PIPE)
        # Once it writes: files come every few milliseconds then, and SIGKILL falls anywhere between them.
        deadline = time.monotonic() + 30
        while commits_of(uri) <= seen and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        _, said = process.communicate()
        assert process.returncode == -signal.SIGKILL, said.decode()
        seen = commits_of(uri)
        found = verify(ArchiveStore(str(uri)))
        assert (found.damage, found.gaps, found.twice) == ([], [], 0)
        unfinished += 0 < found.messages < count
    assert unfinished >= KILLS // 2
    done = subprocess.run(command(line, uri, "--once", "--json"), check=True, capture_output=True, timeout=60)
    assert json.loads(done.stdout)["unreadable"] == 0
    report = verify(ArchiveStore(str(uri)))
    assert (report.damage, report.gaps, report.twice, report.messages) == ([], [], 0, count)
    archived, live = Source(line, Archive.open(str(uri)), topics=False), Source(line)
    assert sorted(archived.records(Frame), key=lambda one: one.position) == sorted(
        live.records(Frame), key=lambda one: one.position
    )


def test_two_sinks_at_once_leave_each_message_once(line: KafkaSettings, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for number in range(900):
        frame = make_frame(number, f"press/c{number % 4}", image=os.urandom(10_000))
        producer.produce(line.frames, encode(frame), partition=number % 3, timestamp=frame.captured_at_us // 1000)
    assert producer.flush(60) == 0
    running = [
        subprocess.Popen(command(line, tmp_path / "a", "--once", "--file-mib", size), stderr=subprocess.PIPE)
        for size in ("0.7", "1.1")
    ]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    archived = list(Source(line, Archive.open(str(tmp_path / "a")), topics=False).records(Frame))
    assert sorted(one.record.sequence for one in archived) == list(range(900))
    assert verify(ArchiveStore(str(tmp_path / "a"))).damage == []


def test_sigterm_lets_it_write_what_it_has_read(line: KafkaSettings, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(line, tmp_path / "a", "--json", "--http-port", "0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    said = ""
    while "metrics at " not in said:
        said = process.stderr.readline()
    url = said.split("metrics at ")[1].strip()
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    values = []
    for number in range(50):
        # Large compared with what an archive adds to a message: the number of bytes tells if all of them were read.
        frame = make_frame(number, image=os.urandom(10_000))
        values.append(encode(frame))
        producer.produce(line.frames, values[-1], partition=0, timestamp=frame.captured_at_us // 1000)
    assert producer.flush(20) == 0

    def waiting() -> float:
        text = urllib.request.urlopen(url).read().decode()
        return float(text.split("\ninspection_archive_waiting_bytes ")[1].split()[0])

    deadline = time.monotonic() + 20
    while waiting() < sum(map(len, values)) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    told, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(told)["messages"] == 50
    assert Archive.open(str(tmp_path / "a")).covered(line.frames) == {0: ((0, 50),)}
