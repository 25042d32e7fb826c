"""Threads whose end nobody would notice: after an error that nobody expects they go on, and say so."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from replay import read_topic
from schemas import DeadLetter, KafkaSettings
from schemas.codec import decode
from schemas.private_files import replace_private
from transport.batch_letters import BatchLetters, make_producer
from transport.batches import UnreadableBatch
from transport.credentials import follow_password
from transport.topic_identity import TopicIdentities
from transport.topic_watch import TopicWatch


def await_(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


class FailsOnce:
    """Function that raises the first time, and is another function from then on."""

    def __init__(self, then: Callable[..., Any]) -> None:
        self._then = then
        self.calls = 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise MemoryError
        return self._then(*arguments, **options)


@pytest.mark.broker
def test_the_letter_after_one_that_found_no_memory_is_written(
    line: KafkaSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transport.batch_letters.make_producer", FailsOnce(make_producer))
    letters = BatchLetters(line, "actuate")
    for first in (7, 9):
        letters.write(UnreadableBatch("line.decisions", 2, first, 12, "too large"))
    letters.close(20)
    assert caplog.messages == ["no dead letter of line.decisions-2@7: MemoryError"]
    found = [decode(message.value, DeadLetter) for message in read_topic(line, line.dead_letters)]
    assert [letter.source_offset for letter in found] == [9]


@pytest.mark.broker
def test_the_watch_of_a_topic_goes_on(
    line: KafkaSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = TopicIdentities(line).of([line.drift])[line.drift]
    asked = FailsOnce(lambda topics, to_read: {line.drift: known._replace(partitions=(0, 1))})
    monkeypatch.setattr(TopicIdentities, "of", lambda self, *arguments, **options: asked(*arguments, **options))
    watch = TopicWatch(line, line.drift, known, 0.05)
    try:
        await_(lambda: watch.change() is not None)
    finally:
        watch.close()
    assert caplog.messages == [
        f"the watch of {line.drift} failed by a fault of the program, and goes on: MemoryError: MemoryError"
    ]


def test_a_client_that_takes_no_password_keeps_none_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "client.properties"
    lines = (
        "bootstrap.servers=127.0.0.1:9\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n"
        "sasl.username=gate\nsasl.password="
    )
    replace_private(file, f"{lines}old\n".encode())
    monkeypatch.setenv("INSPECTION_KAFKA_CONFIG", str(file))
    kafka = KafkaSettings.from_env()
    clients = [Client(), Client()]
    for client in clients:
        follow_password(kafka, client)
    replace_private(file, f"{lines}new\n".encode())
    await_(lambda: all(client.logins == [("gate", "new")] for client in clients))


class Client:
    """Client that fails to take its first password."""

    def __init__(self) -> None:
        self.logins: list[tuple[str, str]] = []
        self.set_sasl_credentials = FailsOnce(lambda *login: self.logins.append(login))
