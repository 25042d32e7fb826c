"""Batches that no client can read, on a real broker."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from schemas import KafkaSettings
from tests.support.bombs import send_bomb
from transport.batch_ends import find_batch_end, parse_batch_header
from transport.batches import BOUNDED, BatchSkipper, UnreadableBatch

pytestmark = pytest.mark.broker


def send(line: KafkaSettings, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "log_level": 0})
    for value in values:
        producer.produce(line.decisions, value, partition=0)
        assert producer.flush(10) == 0


@pytest.fixture
def consumer(line: KafkaSettings) -> Iterator[Consumer]:
    settings = {"bootstrap.servers": line.bootstrap_servers, "group.id": "g", "enable.auto.commit": False}
    made = Consumer({**BOUNDED, **settings, "log_level": 0})
    yield made
    made.close()


def read(line: KafkaSettings, consumer: Consumer, count: int) -> tuple[list[bytes | None], list[UnreadableBatch]]:
    """Read until this number of messages has come."""
    skipper, values, skipped = BatchSkipper(line), [], []
    deadline = time.monotonic() + 60
    while len(values) < count and time.monotonic() < deadline:
        message = consumer.poll(0.1)
        skipped += skipper.skip(consumer)
        if message is not None and not skipper.met(message):
            assert message.error() is None, message.error()
            values.append(message.value())
    skipper.close()
    return values, skipped


def test_two_batches_side_by_side_are_stepped_over_and_nothing_else_is_lost(
    line: KafkaSettings, consumer: Consumer
) -> None:
    send(line, b"0", b"1")
    send_bomb(line.bootstrap_servers, line.decisions, count=7, partition=0)  # 2 to 8
    send_bomb(line.bootstrap_servers, line.decisions, partition=0)  # 9
    send(line, b"10", b"11")
    consumer.assign([TopicPartition(line.decisions, 0, 0)])
    values, skipped = read(line, consumer, 4)
    assert values == [b"0", b"1", b"10", b"11"]
    assert [(batch.first, batch.following) for batch in skipped] == [(2, 9), (9, 10)]
    assert f"{line.decisions}-0: offsets 2 to 8 (7)" in str(skipped[0])


def test_a_reader_that_begins_within_the_batch_goes_on_behind_it(line: KafkaSettings, consumer: Consumer) -> None:
    send_bomb(line.bootstrap_servers, line.decisions, count=5, partition=0)
    send(line, b"behind")
    consumer.assign([TopicPartition(line.decisions, 0, 3)])
    assert read(line, consumer, 1)[0] == [b"behind"]


def test_messages_between_two_batches_are_read(line: KafkaSettings, consumer: Consumer) -> None:
    """The first has many messages, so that steps of a search could end behind the second."""
    send_bomb(line.bootstrap_servers, line.decisions, count=500, partition=0)  # 0 to 499
    send(line, b"500", b"501")
    send_bomb(line.bootstrap_servers, line.decisions, count=300, partition=0)  # 502 to 801
    send(line, b"802")
    consumer.assign([TopicPartition(line.decisions, 0, 0)])
    values, skipped = read(line, consumer, 3)
    assert values == [b"500", b"501", b"802"]
    assert [(batch.first, batch.following) for batch in skipped] == [(0, 500), (502, 802)]


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
def test_the_end_of_a_batch_is_found_from_each_offset_within(line: KafkaSettings, codec: str) -> None:
    send_bomb(line.bootstrap_servers, line.decisions, count=3, partition=0, codec=codec, size=3_000)
    send_bomb(line.bootstrap_servers, line.decisions, count=2, partition=0, codec=codec, size=2_000)
    ends = [find_batch_end(line, line.decisions, 0, offset) for offset in range(5)]
    assert ends == [3, 3, 3, 5, 5]


def test_an_end_that_no_broker_gives_is_an_error() -> None:
    with pytest.raises(KafkaException, match="the end of the batch at frames-0, offset 7, was not read"):
        find_batch_end(KafkaSettings("127.0.0.1:1"), "frames", 0, 7)


@pytest.mark.parametrize("records", [b"", bytes(26), bytes(61), b"\xff" * 61, b"\x00" * 16 + b"\x02" + b"\xff" * 44])
def test_a_header_of_another_format_has_no_end(records: bytes) -> None:
    assert parse_batch_header(records) is None
