"""Offsets that a broker names: a request is repeated while the error may pass, and an error that stays is raised."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from schemas import KafkaSettings
from schemas.groups import READER
from tests.support.raw_headers import send_raw
from transport.clients import make_consumer
from transport.watermarks import first_offsets, low_and_high

pytestmark = pytest.mark.broker


@pytest.fixture
def consumer(line: KafkaSettings) -> Iterator[Consumer]:
    found = make_consumer(line, {"group.id": READER})
    yield found
    found.close()


@pytest.fixture
def late_topic(line: KafkaSettings) -> Iterator[str]:
    """Name of a topic that is created while a request for it runs."""
    admin, name = AdminClient({"bootstrap.servers": line.bootstrap_servers, "log_level": 0}), f"{line.prefix}.late"
    timer = threading.Timer(0.7, lambda: admin.create_topics([NewTopic(name, 2, 1)])[name].result(20))
    timer.start()
    yield name
    timer.join()
    admin.delete_topics([name])[name].result(20)


def test_a_topic_that_comes_into_being_is_waited_for(consumer: Consumer, late_topic: str) -> None:
    assert low_and_high(consumer, TopicPartition(late_topic, 1), 20) == (0, 0)


def test_times_of_a_topic_that_comes_into_being(consumer: Consumer, late_topic: str) -> None:
    times = [TopicPartition(late_topic, number, 1_000) for number in range(2)]
    assert first_offsets(consumer, times, 20) == {0: -1, 1: -1}


def test_both_ends_and_the_first_message_from_a_time_on(consumer: Consumer, line: KafkaSettings) -> None:
    before_ms = time.time_ns() // 1_000_000 - 60_000
    send_raw(line.bootstrap_servers, line.frames, [(b"k", b"0", []), (b"k", b"1", [])])
    ends = {number: low_and_high(consumer, TopicPartition(line.frames, number), 10) for number in range(6)}
    assert sorted(ends.values()) == [(0, 0)] * 5 + [(0, 2)]
    (number,) = (each for each, (_, high) in ends.items() if high)
    assert first_offsets(consumer, [TopicPartition(line.frames, number, before_ms)], 10) == {number: 0}
    assert first_offsets(consumer, [TopicPartition(line.frames, number, before_ms + 3_600_000)], 10) == {number: -1}


def test_a_partition_that_does_not_exist(consumer: Consumer, line: KafkaSettings) -> None:
    with pytest.raises(KafkaException, match=r"Unknown (partition|topic)"):
        low_and_high(consumer, TopicPartition(line.frames, 99), 1)
    with pytest.raises(KafkaException, match=r"Unknown (partition|topic)"):
        first_offsets(consumer, [TopicPartition(line.frames, number, 1_000) for number in (0, 99)], 1)
