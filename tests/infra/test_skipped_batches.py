"""A batch that no client reads: each reader of its topic skips it, says so, and leaves a letter if it runs on."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from replay import read_topic
from schemas import DeadLetter, KafkaSettings
from schemas.codec import decode
from tests.support.bombs import send_bomb
from tests.support.programs import Programs

pytestmark = pytest.mark.broker


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
    line: KafkaSettings, programs: Programs, tmp_path: Path
) -> None:
    programs.connect("", {"bootstrap.servers": line.bootstrap_servers})
    programs.gate()
    programs.serve("watch", "--group", line.prefix)
    send_bomb(line.bootstrap_servers, line.decisions, count=3, partition=0)
    send_bomb(line.bootstrap_servers, line.frames, partition=1)
    places = [(line.decisions, 0, 0), (line.frames, 1, 0)]
    wanted = Counter([("actuate", *places[0]), ("actuate", *places[1]), ("watch", *places[0])])
    await_(lambda: letters_of(line).total() >= wanted.total())
    programs.stop("watch")
    programs.stop("actuate")
    assert letters_of(line) == wanted

    archive = ("archive", "--to", str(tmp_path / "archive"), "--once", "--json")
    assert json.loads(programs.run(*archive))["undecodable"] == 4
    wanted += Counter([("archive", *place) for place in places])
    assert letters_of(line) == wanted
    assert json.loads(programs.run(*archive))["undecodable"] == 0

    listed = json.loads(programs.run("dead-letters", "list", "--json"))["dead_letters"]
    assert sorted(row["source"] for row in listed) == sorted("{}-{}@{}".format(*place) for place in places)

    for arguments, place in [
        (("audit",), places[0]),
        (("audit",), places[1]),
        (("quality",), places[0]),
        (("review",), places[0]),
        (("replay", "--from", "2020-01-01T00:00Z"), places[1]),
    ]:
        done = programs.call(*arguments)
        assert "{}-{}: offsets {} to ".format(*place) in done.stderr, (arguments, done)
    assert json.loads(programs.run("quality", "--json"))["unreadable"] == 1
    audited = json.loads(programs.run("audit", "--json"))
    assert [audited[name] for name in ("unreadable_frames", "unreadable_decisions")] == [1, 1]
    assert audited["unreadable_frames_unaccounted"] == 0
    assert letters_of(line) == wanted
