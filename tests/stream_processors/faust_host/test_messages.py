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


def test_key_and_headers_count_as_bytes_of_a_message() -> None:
    message = ReceivedMessage("frames", 0, 7, 0.0, b"k" * 1_000, b"v" * 100, {"name": b"h" * 10_000})
    assert message.size_bytes == 11_104


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
            found += [message.offset for message in (await reader.take()).messages]
        await reader.close()
        return found

    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True})
    for number in range(200):
        producer.produce(line.frames, b"%d" % number, partition=0)
    assert producer.flush(20) == 0
    assert asyncio.run(asyncio.wait_for(read(), 60)) == list(range(200))
    assert asked > 5


@pytest.mark.broker
@pytest.mark.parametrize("large", ["key", "headers"])
def test_few_messages_are_read_ahead_whose_bytes_are_not_in_the_value(line: KafkaSettings, large: str) -> None:
    async def read() -> int:
        config = {"group.id": line.prefix, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        reader = GroupConsumer(line, config, Rebalances())
        await reader.subscribe([line.frames])
        await reader.take()  # 32 messages at most
        await asyncio.sleep(1.0)  # all that it reads ahead is read by now
        ahead = await reader.take()
        await reader.close()
        return len(ahead.messages)

    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True})
    for _ in range(110):
        given = {"key": bytes(300_000)} if large == "key" else {"headers": {"name": bytes(300_000)}}
        producer.produce(line.frames, b"", partition=0, **given)
    assert producer.flush(20) == 0
    # Less than 1 MiB and one read of 32 messages; 64 messages and more if their bytes were not counted.
    assert 0 < asyncio.run(asyncio.wait_for(read(), 60)) < 45
