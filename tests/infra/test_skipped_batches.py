"""A batch that no client reads: each reader of its topic skips it, says so, and leaves a letter if it runs on."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.demo.processes import ServedProcess, inspection_command
from replay import read_topic
from schemas import DeadLetter, KafkaSettings
from schemas.codec import decode
from tests.support.bombs import send_bomb

pytestmark = pytest.mark.broker


def command(line: KafkaSettings, *arguments: str) -> list[str]:
    return inspection_command(*arguments, "--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix)


def run(line: KafkaSettings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(line, *arguments), capture_output=True, text=True, check=False, timeout=90)


@pytest.fixture
def gate(line: KafkaSettings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a gate that is ready."""
    log = tmp_path / "gate.log"
    with log.open("wb") as out, subprocess.Popen(command(line, "actuate"), stdout=out, stderr=out) as process:
        try:
            await_(lambda: "gate ready" in log.read_text())
            yield process
        finally:
            process.kill()


def await_(condition: object, timeout_s: float = 60) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until_s
        time.sleep(0.1)


def letters_of(line: KafkaSettings) -> Counter[tuple[str, str, int, int]]:
    """Return program, topic, partition and offset of the letters."""
    found = [decode(message.value, DeadLetter) for message in read_topic(line, line.dead_letters)]
    assert {letter.kind for letter in found} <= {"undecodable-batch"}
    return Counter(
        (letter.worker.split()[0], letter.source_topic, letter.source_partition, letter.source_offset)
        for letter in found
    )


@pytest.mark.long
def test_gate_watch_and_archive_leave_one_letter_each_and_commands_none(
    line: KafkaSettings, gate: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with ServedProcess("watch", line, group=line.prefix, log=tmp_path / "watch.log") as watch:
        watch.await_ready()
        send_bomb(line.bootstrap_servers, line.decisions, count=3, partition=0)
        send_bomb(line.bootstrap_servers, line.frames, partition=1)
        places = [(line.decisions, 0, 0), (line.frames, 1, 0)]
        wanted = Counter([("actuate", *places[0]), ("actuate", *places[1]), ("watch", *places[0])])
        await_(lambda: letters_of(line).total() >= wanted.total())
        assert watch.stop() == 0
    gate.send_signal(signal.SIGTERM)
    assert gate.wait(30) == 0
    assert letters_of(line) == wanted

    archive = ("archive", "--to", str(tmp_path / "archive"), "--once", "--json")
    assert json.loads(run(line, *archive).stdout)["undecodable"] == 4
    wanted += Counter([("archive", *place) for place in places])
    assert letters_of(line) == wanted
    assert json.loads(run(line, *archive).stdout)["undecodable"] == 0

    listed = json.loads(run(line, "dead-letters", "list", "--json").stdout)["dead_letters"]
    assert sorted(row["source"] for row in listed) == sorted("{}-{}@{}".format(*place) for place in places)

    for arguments, place in [
        (("audit",), places[0]),
        (("audit",), places[1]),
        (("quality",), places[0]),
        (("review",), places[0]),
        (("replay", "--from", "2020-01-01T00:00Z"), places[1]),
    ]:
        done = run(line, *arguments)
        assert "{}-{}: offsets {} to ".format(*place) in done.stderr, (arguments, done)
    assert json.loads(run(line, "quality", "--json").stdout)["unreadable"] == 1
    audited = json.loads(run(line, "audit", "--json").stdout)
    assert [audited[name] for name in ("unreadable_frames", "unreadable_decisions")] == [1, 1]
    assert audited["unreadable_frames_unaccounted"] == 0
    assert letters_of(line) == wanted
