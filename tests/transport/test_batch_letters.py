"""Dead letters of skipped batches, as readers that publish nothing else write them, on the real broker."""

from __future__ import annotations

import time

import pytest

from replay import read_topic
from schemas import DeadLetter, KafkaSettings
from schemas.clock import SystemClock
from schemas.codec import decode
from tests.support.topics import set_config
from transport.batch_letters import BatchLetters
from transport.batches import UnreadableBatch


def batch(first: int = 7) -> UnreadableBatch:
    return UnreadableBatch("line.decisions", 2, first, 12, "too large")


def letters_of(line: KafkaSettings) -> list[DeadLetter]:
    return [decode(message.value, DeadLetter) for message in read_topic(line, line.dead_letters)]


@pytest.mark.broker
def test_a_batch_has_one_letter_like_that_of_a_worker(line: KafkaSettings) -> None:
    began_us = SystemClock().utc_us()
    letters = BatchLetters(line, "actuate")
    for skipped in (batch(), batch(), batch(9)):
        letters.write(skipped)
    letters.close(20)
    letters.close()
    first, second = letters_of(line)
    assert (first.source_topic, first.source_partition, first.source_offset) == ("line.decisions", 2, 7)
    assert (first.kind, first.value, first.frame_id) == ("undecodable-batch", None, None)
    assert first.reason == "line.decisions-2: offsets 7 to 11 (5) are a batch that no client reads: too large"
    assert first.failed_at_us >= began_us
    assert first.worker.startswith("actuate ")
    assert second.source_offset == 9


@pytest.mark.broker
def test_a_letter_that_is_refused_is_one_warning(line: KafkaSettings, caplog: pytest.LogCaptureFixture) -> None:
    set_config(line, line.dead_letters, max_message_bytes="100")
    letters = BatchLetters(line, "actuate")
    letters.write(batch())
    until_s = time.monotonic() + 20
    while not caplog.records and time.monotonic() < until_s:
        time.sleep(0.05)
    set_config(line, line.dead_letters, max_message_bytes="100000")
    letters.write(batch())  # it had its letter
    letters.write(batch(9))
    letters.close(20)
    [warning] = caplog.records
    assert warning.getMessage().startswith("no dead letter of line.decisions-2@7: ")
    assert [letter.source_offset for letter in letters_of(line)] == [9]


def test_no_letter_waits_for_kafka(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.batch_letters._PATIENCE_MS", 1_000)
    monkeypatch.setattr("transport.batch_letters._WAITING", 2)
    letters = BatchLetters(KafkaSettings("127.0.0.1:1"), "actuate")
    began_s = time.monotonic()
    for first in range(12):
        letters.write(UnreadableBatch("frames", 0, first, 12, "too large"))
    assert time.monotonic() - began_s < 11  # twelve letters of a second each
    assert "2 other letters wait" in caplog.text
    letters.close(0.1)
    assert time.monotonic() - began_s < 20
    until_s = time.monotonic() + 10
    while len(caplog.records) < 12 and time.monotonic() < until_s:
        time.sleep(0.05)
    assert len(caplog.records) == 12
