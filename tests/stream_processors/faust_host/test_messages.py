"""Messages that are handed to Faust together, and that gather while earlier ones wait. Real broker."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Producer

from schemas.settings import KafkaSettings
from stream_processors.faust_host.group_consumer import GroupConsumer, PartitionKey
from stream_processors.faust_host.messages import TOGETHER, ReceivedMessage, received, runs
from transport.batches import UnreadableBatch


def test_a_batch_that_no_client_reads_is_acked_like_its_last_message() -> None:
    message = received(UnreadableBatch("frames", 2, first=7, following=12, reason="it is too large"))
    assert (message.partition, message.offset, message.last_offset, message.value) == (2, 7, 11, None)


def test_runs_keep_the_order_of_each_partition() -> None:
    messages = [ReceivedMessage("frames", number % 3, number, 0.0, None, b"x", {}) for number in range(100)]
    found = list(runs(messages))
    assert max(map(len, found)) == TOGETHER
    for partition in range(3):
        offsets = [each.offset for run in found for each in run if each.partition == partition]
        assert offsets == list(range(partition, 100, 3))
    assert all(len({each.partition for each in run}) == 1 for run in found)


class Rebalances:
    """Waits for the assignment."""

    def __init__(self) -> None:
        self.has_partitions = asyncio.Event()

    async def assigned(self, partitions: set[PartitionKey]) -> None:
        self.has_partitions.set()

    async def revoked(self, partitions: set[PartitionKey]) -> None:
        self.has_partitions.clear()

    async def failed(self, error: BaseException) -> None:
        raise error


@pytest.mark.broker
def test_messages_gather_while_earlier_ones_wait_and_all_arrive(line: KafkaSettings) -> None:
    """However long it is busy, it reads on: rebalances are served, and no message is held back."""
    asked = 0

    def is_busy() -> bool:
        nonlocal asked
        asked += 1
        return True

    async def read() -> list[int]:
        config = {"group.id": line.prefix, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        reader = GroupConsumer(line, config, Rebalances(), is_busy=is_busy)
        await reader.subscribe([line.frames])
        found: list[int] = []
        while len(found) < 200:
            found += [received(record).offset for record in (await reader.take()).messages]
        await reader.close()
        return found

    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True})
    for number in range(200):
        producer.produce(line.frames, b"%d" % number, partition=0)
    assert producer.flush(20) == 0
    assert asyncio.run(asyncio.wait_for(read(), 60)) == list(range(200))
    assert asked > 5
