"""Messages that the topic deletes before they are read are named and counted; other holes are not."""

from __future__ import annotations

import asyncio
import logging

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas import KafkaSettings
from stream_processors.faust_host.deleted_offsets import DeletedOffsets
from stream_processors.faust_host.group_consumer import GroupConsumer
from transport.batch_trials.after_death import PartitionKey

pytestmark = pytest.mark.broker


class Member:
    """Listener that waits for its partitions."""

    def __init__(self) -> None:
        self.has_partitions = asyncio.Event()

    async def assigned(self, partitions: set[PartitionKey]) -> None:
        self.has_partitions.set()

    async def revoked(self, partitions: set[PartitionKey]) -> None:
        """Finish nothing."""

    async def failed(self, error: BaseException) -> None:
        raise error


def fill(line: KafkaSettings, count: int, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for number in range(count):
        producer.produce(line.frames, b"%d" % number, partition=partition)
    assert producer.flush(20) == 0


def delete(line: KafkaSettings, before: int, partition: int = 0) -> None:
    admin = AdminClient({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})
    for done in admin.delete_records([TopicPartition(line.frames, partition, before)]).values():
        done.result(20)


def test_a_member_counts_what_was_deleted_since_its_commit(
    line: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"group.id": line.prefix, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    fill(line, 10)
    before = Consumer({**config, "bootstrap.servers": line.bootstrap_servers, "log_level": 0})
    before.commit(offsets=[TopicPartition(line.frames, 0, 3)], asynchronous=False)
    before.close()
    delete(line, 7)
    deleted: list[tuple[str, int, int]] = []

    async def read() -> int | None:
        member = Member()
        consumer = GroupConsumer(line, config, member, on_deleted=lambda *found: deleted.append(found))
        await consumer.subscribe([line.frames])
        await member.has_partitions.wait()
        await consumer.rewind()
        while not (messages := (await consumer.take()).messages):
            pass
        await consumer.close()
        first = messages[0]
        return first.offset

    with caplog.at_level(logging.ERROR):
        assert asyncio.run(asyncio.wait_for(read(), 60)) == 7
    assert deleted == [(line.frames, 0, 4)]
    assert f"{line.frames}-0: offsets 3 to 6 were deleted before this program read them" in caplog.text


@pytest.fixture
def reported(line: KafkaSettings) -> list[int]:
    """Numbers of offsets that are reported as deleted."""
    return []


@pytest.fixture
def watched(line: KafkaSettings, reported: list[int]) -> DeletedOffsets:
    """Check of a topic whose first offset is 4."""
    fill(line, 6)
    delete(line, 4)
    consumer = Consumer({"bootstrap.servers": line.bootstrap_servers, "group.id": line.prefix, "log_level": 0})
    return DeletedOffsets(consumer, lambda topic, partition, count: reported.append(count))


@pytest.mark.parametrize(
    ("begin", "offset", "count"),
    [
        pytest.param(1, 6, 3, id="deleted up to 4, and a hole up to 6"),
        pytest.param(4, 6, 0, id="a hole that a transaction left"),
        pytest.param(2, 3, 1, id="deleted since it was read"),
        pytest.param(3, 3, 0, id="no hole"),
        pytest.param(5, 2, 0, id="read again"),
        pytest.param(None, 3, 0, id="a partition without a committed offset"),
    ],
)
def test_only_what_was_deleted_is_reported(
    line: KafkaSettings, watched: DeletedOffsets, reported: list[int], begin: int | None, offset: int, count: int
) -> None:
    place = (line.frames, 0)
    if begin is not None:
        watched.begin(place, begin)
    watched.read(place, offset, offset + 1)
    assert sum(reported) == count


def test_each_partition_is_reported(line: KafkaSettings, watched: DeletedOffsets, reported: list[int]) -> None:
    """A worker that was down too long meets the holes of all its partitions within a moment."""
    fill(line, 6, partition=1)
    delete(line, 3, partition=1)
    for number, first in ((0, 4), (1, 3)):
        watched.begin((line.frames, number), 0)
        watched.read((line.frames, number), first, first + 1)
    assert reported == [4, 3]


def test_holes_after_each_message_do_not_make_a_question_each(
    line: KafkaSettings, watched: DeletedOffsets, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, asked = (line.frames, 0), 0
    ask = watched._first_offset

    def counted(topic: str, partition: int) -> int:
        nonlocal asked
        asked += 1
        return ask(topic, partition)

    monkeypatch.setattr(watched, "_first_offset", counted)
    watched.begin(place, 0)
    for offset in range(2, 4000, 2):
        watched.read(place, offset, offset + 1)
    assert 1 <= asked < 100
