"""Dead letters can be listed, shown, and retried once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from infra.cli.root import app
from replay import read_topic
from replay.dead_letters import RETRY_HEADER, Retrier, find_letter
from schemas import DeadLetter, Encoding, Frame, KafkaSettings, encode
from schemas.errors import InspectionError

pytestmark = pytest.mark.broker

PNG = cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()


def frame(sequence: int, image: bytes = PNG, sha256: str | None = None) -> bytes:
    return encode(
        Frame(
            frame_id=f"s.c.1.{sequence}", line="l", station="s", camera_id="c", started_at_us=1, sequence=sequence,
            captured_at_us=0, encoding=Encoding.PNG, width=8, height=8,
            sha256=sha256 or hashlib.sha256(image).hexdigest(), image=image,
        )
    )  # fmt: skip


def letter(topic: str, kind: str, value: bytes | None, **more: object) -> bytes:
    return encode(
        DeadLetter(source_topic=topic, source_partition=0, source_offset=7, kind=kind, reason=f"about {kind}",
                   failed_at_us=1_700_000_000_000_000, worker="w", key=b"s/c", value=value, **more)  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def letters(line: KafkaSettings) -> KafkaSettings:
    """Ids 0-0 to 0-5, and garbage."""
    values = [
        letter(line.frames, "unknown-schema", frame(0), headers={"traceparent": b"t"}),  # a new version can read it
        letter(line.frames, "truncated", b"garbage"),
        letter(line.frames, "unreadable-image", frame(2, b"no image")),
        letter(line.frames, "sha256-mismatch", frame(3, sha256="00" * 32)),
        letter("another.topic", "truncated", frame(4)),
        letter(line.frames, "unknown-schema", frame(5), headers={RETRY_HEADER: b"0-0"}),
        b"garbage",
    ]
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})
    for value in values:
        producer.produce(line.dead_letters, value)
    assert producer.flush(20) == 0
    return line


def run(kafka: KafkaSettings, command: str, *arguments: str) -> Result:
    options = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
    return CliRunner().invoke(app, ["dead-letters", command, *options, *arguments])


def test_listed_and_shown(letters: KafkaSettings, tmp_path: Path) -> None:
    listed = run(letters, "list").stdout
    assert [row.split()[0] for row in listed.splitlines()] == [f"0-{number}" for number in range(6)]
    assert "0-1  2023-11-14T22:13:20Z  truncated" in listed
    assert len(run(letters, "list", "--kind", "truncated", "--limit", "1").stdout.splitlines()) == 1
    assert "no dead letters of that kind" in run(letters, "list", "--kind", "nothing").stdout
    row = json.loads(run(letters, "show", "0-3", "--json", "--save", str(tmp_path / "value")).stdout)
    assert row["would_fail"].startswith("sha256-mismatch")
    assert (tmp_path / "value").read_bytes() == frame(3, sha256="00" * 32)
    assert "no dead letter '9-9'" in str(run(letters, "show", "9-9").exception)


def test_names_do_nothing_to_the_terminal(line: KafkaSettings) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})
    producer.produce(
        line.dead_letters, letter(line.frames, "truncated", b"x", frame_id="s.c\x1b[2J\r\nOK" + "x" * 5_000)
    )
    assert producer.flush(20) == 0
    for shown in (run(line, "list").stdout, run(line, "show", "0-0").stdout):
        assert r"s.c\x1b[2J\r\nOK" in shown
        assert "\x1b" not in shown
    assert len(run(line, "list").stdout) < 1_500


def test_what_is_fixed_is_retried_once(letters: KafkaSettings) -> None:
    dry = json.loads(run(letters, "retry", "--dry-run", "--json").stdout)
    assert [row["retried"] for row in dry["dead_letters"]] == [True] + 5 * [False]
    assert list(read_topic(letters.bootstrap_servers, letters.frames)) == []
    assert "1 of 6 retried" in run(letters, "retry").stdout
    assert "0 of 6 retried" in run(letters, "retry").stdout
    [message] = read_topic(letters.bootstrap_servers, letters.frames)
    assert (message.key, message.value) == (b"s/c", frame(0))
    assert message.headers == {"traceparent": b"t", RETRY_HEADER: b"0-0"}
    assert "0-0  2023-11-14T22:13:20Z  unknown-schema (retried)" in run(letters, "list").stdout
    assert "already retried" in run(letters, "retry", "0-0").stdout
    assert isinstance(run(letters, "retry", "0-0").exception, InspectionError)
    # By force also what would fail again, but never twice, and nothing of another topic.
    forced = json.loads(run(letters, "retry", "--force", "--json").stdout)["dead_letters"]
    assert [row["retried"] for row in forced] == [False, True, True, True, False, True]
    assert len(list(read_topic(letters.bootstrap_servers, letters.frames))) == 5
    assert "no dead letter 0-99" in str(run(letters, "retry", "0-99").exception)


def test_of_two_retriers_the_older_is_fenced_off(letters: KafkaSettings) -> None:
    found = find_letter(letters, "0-0")
    older = Retrier(letters)
    Retrier(letters).retry(found)
    with pytest.raises(InspectionError, match="0-0 was not retried"):
        older.retry(found)
    assert len(list(read_topic(letters.bootstrap_servers, letters.frames))) == 1
