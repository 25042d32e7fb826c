"""Dead letters can be listed, shown, and retried once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from infra.cli.root import app
from models import FramePosition
from operations.dead_letters import (
    KILLED,
    RETRIED,
    Letter,
    Retrier,
    find_letter,
    read_letters,
    retried_ids,
    retry_blocker,
)  # fmt: skip
from replay import Source, read_topic
from schemas import Codec, DeadLetter, Encoding, Frame, KafkaSettings
from schemas.clock import SystemClock
from schemas.codec import decode, encode
from schemas.errors import InspectionError
from schemas.letters import KEPT_VALUE_BYTES, cut
from schemas.replay_headers import RETRY_HEADER
from stream_processors.worker.frame_task import FrameMessage
from stream_processors.worker.retries import Retries
from tests.support.records import DEAD_LETTER
from tests.support.topics import set_config
from tests.support.transactions import abort_transaction, await_markers
from transport.image_store import ImageStore

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
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for value in values:
        producer.produce(line.dead_letters, value)
    assert producer.flush(20) == 0
    return line


def run(kafka: KafkaSettings, command: str, *arguments: str) -> Result:
    options = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
    return CliRunner().invoke(app, ["dead-letters", command, *options, *arguments])


def test_a_hash_in_capitals_blocks_no_retry(tmp_path: Path) -> None:
    kafka, capitals = KafkaSettings(), hashlib.sha256(PNG).hexdigest().upper()
    value = letter(kafka.frames, "unknown-schema", frame(0, sha256=capitals))
    found = Letter("0-0", decode(value, DeadLetter))
    assert retry_blocker(found, kafka, Codec(), ImageStore(str(tmp_path))) is None


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


@pytest.mark.long
def test_names_do_nothing_to_the_terminal(line: KafkaSettings) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    producer.produce(
        line.dead_letters, letter(line.frames, "truncated", b"x", frame_id="s.c\x1b[2J\r\nOK" + "x" * 5_000)
    )
    assert producer.flush(20) == 0
    for shown in (run(line, "list").stdout, run(line, "show", "0-0").stdout):
        assert r"s.c\x1b[2J\r\nOK" in shown
        assert "\x1b" not in shown
    assert len(run(line, "list").stdout) < 1_500


@pytest.mark.long
def test_what_is_fixed_is_retried_once(letters: KafkaSettings) -> None:
    dry = json.loads(run(letters, "retry", "--dry-run", "--json").stdout)
    assert [row["retried"] for row in dry["dead_letters"]] == [True] + 5 * [False]
    assert list(read_topic(letters, letters.frames)) == []
    assert "1 of 6 retried" in run(letters, "retry").stdout
    assert "0 of 6 retried" in run(letters, "retry").stdout
    [message] = read_topic(letters, letters.frames)
    assert (message.key, message.value) == (b"s/c", frame(0))
    assert message.headers == {"traceparent": b"t", RETRY_HEADER: b"0-0"}
    assert "0-0  2023-11-14T22:13:20Z  unknown-schema (retried)" in run(letters, "list").stdout
    assert "already retried" in run(letters, "retry", "0-0").stdout
    assert isinstance(run(letters, "retry", "0-0").exception, InspectionError)
    # By force also what would fail again, but never twice, and nothing of another topic.
    forced = json.loads(run(letters, "retry", "--force", "--json").stdout)["dead_letters"]
    assert [row["retried"] for row in forced] == [False, True, True, True, False, True]
    await_markers(letters, letters.frames)
    assert len(list(read_topic(letters, letters.frames))) == 5
    assert "no dead letter 0-99" in str(run(letters, "retry", "0-99").exception)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_id_that_is_not_there_hides_no_retry(letters: KafkaSettings, form: list[str]) -> None:
    result = run(letters, "retry", "0-0", "0-99", *form)
    assert str(result.exception).startswith("no dead letter 0-99; ")
    if form:
        assert [row["retried"] for row in json.loads(result.stdout)["dead_letters"]] == [True]
    else:
        assert result.stdout == "0-0: retried\n1 of 1 retried\n"


@pytest.mark.long
def test_a_cut_letter_is_retried_from_where_it_came(line: KafkaSettings) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (700, 700), np.uint8)
    value = frame(0, cv2.imencode(".png", noise)[1].tobytes())
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    producer.produce(line.frames, value, b"s/c", partition=0, headers={"traceparent": b"t"})
    for offset in (0, 900):  # the second one does not exist any more
        whole = decode(letter(line.frames, "unknown-schema", value), DeadLetter)
        producer.produce(line.dead_letters, encode(cut(dataclasses.replace(whole, source_offset=offset))))
    killed = dataclasses.replace(whole, kind=KILLED, source_offset=1, value=frame(1))
    producer.produce(line.dead_letters, encode(killed))
    assert producer.flush(20) == 0
    rows = json.loads(run(line, "retry", "--json").stdout)["dead_letters"]
    assert [row["retried"] for row in rows] == [True, False, False]
    assert f"{KEPT_VALUE_BYTES} of {len(value)} bytes" in rows[1]["why_not"]
    assert "ended a worker" in rows[2]["why_not"]
    await_markers(line, line.frames)
    [_, message] = read_topic(line, line.frames)
    assert (message.key, message.value) == (b"s/c", value)
    assert message.headers == {"traceparent": b"t", RETRY_HEADER: b"0-0"}
    forced = json.loads(run(line, "retry", "--force", "--json").stdout)["dead_letters"]
    assert [row["retried"] for row in forced] == [False, False, True]
    # A worker takes a message for a retry only if the letter that it names is about it.
    retries = Retries(line, Codec(), SystemClock())

    def is_retry(value: bytes, name: bytes) -> bool:
        return retries.is_retry(FrameMessage(value, b"s/c", {RETRY_HEADER: name}, FramePosition(line.frames, 0, 9, 0)))

    assert is_retry(value, b"0-0")
    for number, (bytes_, name) in enumerate([(value, b"0-2"), (frame(9), b"0-0"), (value, b"0-999"), (value, b"x")]):
        other = FrameMessage(bytes_, b"s/c", {RETRY_HEADER: name}, FramePosition(line.frames, 0, 10 + number, 0))
        assert not retries.is_retry(other)
    # Headers that name nothing do not keep a worker looking, and a thread does not wait long for another that looks.
    began_s = time.monotonic()
    for number in range(300):
        name = b"%d-%d" % (number % 50, 10**6 + number)
        other = FrameMessage(value, b"s/c", {RETRY_HEADER: name}, FramePosition(line.frames, 0, 100 + number, 0))
        assert not retries.is_retry(other)
    assert time.monotonic() - began_s < 15
    fresh = Retries(line, Codec(), SystemClock())
    same = FrameMessage(value, b"s/c", {RETRY_HEADER: b"0-0"}, FramePosition(line.frames, 0, 9, 0))
    with fresh._lock:
        assert not fresh.is_retry(same)
    assert fresh.is_retry(same)
    for each in (retries, fresh):
        each.close()


def test_an_open_transaction_of_a_stranger_hides_no_letter(line: KafkaSettings) -> None:
    stranger = Producer({"bootstrap.servers": line.bootstrap_servers, "transactional.id": line.prefix, "log_level": 0})
    stranger.init_transactions(20)
    stranger.begin_transaction()
    stranger.produce(line.dead_letters, b"never ended", partition=0)
    assert stranger.flush(20) == 0
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    producer.produce(line.dead_letters, letter(line.frames, "unknown-schema", b"value"), partition=0)
    assert producer.flush(20) == 0
    source = FramePosition(line.frames, 0, 9, 0)
    message = FrameMessage(b"value", b"s/c", {RETRY_HEADER: b"0-1"}, source)
    retries = Retries(line, Codec(), SystemClock())
    assert retries.is_retry(message)
    retries.close()
    abort_transaction(stranger, line, line.dead_letters)


def test_of_two_retriers_the_older_is_fenced_off(letters: KafkaSettings) -> None:
    found = find_letter(Source(letters), "0-0")
    older = Retrier(letters)
    Retrier(letters).retry(found)
    with pytest.raises(InspectionError, match="0-0 was not retried"):
        older.retry(found)
    await_markers(letters, letters.frames)
    assert len(list(read_topic(letters, letters.frames))) == 1


def test_a_letter_that_the_topic_does_not_take_any_more_leaves_the_others(line: KafkaSettings) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (450, 450), np.uint8)
    values = [frame(0, cv2.imencode(".png", noise)[1].tobytes()), frame(1)]
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for value in values:
        producer.produce(line.dead_letters, letter(line.frames, "unknown-schema", value))
    assert producer.flush(20) == 0
    set_config(line, line.frames, max_message_bytes="50000")
    rows = json.loads(run(line, "retry", "--json").stdout)["dead_letters"]
    assert [row["retried"] for row in rows] == [False, True], rows
    assert "0-0 was not retried" in rows[0]["why_not"]
    await_markers(line, line.frames)
    [message] = read_topic(line, line.frames)
    assert message.value == values[1]


def test_a_mark_that_names_no_letter_is_not_kept(line: KafkaSettings) -> None:
    reasons = ("0-0", "x" * 400_000, "0-" + "1" * 400_000, "0-0\n", "\u0660-0")
    marks = [dataclasses.replace(DEAD_LETTER, kind=RETRIED, reason=reason) for reason in reasons]
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for letter in (DEAD_LETTER, *marks):
        producer.produce(line.dead_letters, encode(letter), b"x", partition=0)
    assert producer.flush(20) == 0
    assert retried_ids(Source(line)) == {"0-0"}
    [found] = read_letters(Source(line))
    assert found.retried
