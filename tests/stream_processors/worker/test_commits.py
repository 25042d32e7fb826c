"""Commits that Kafka does not take are made again with the next one."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, TopicPartition
from faust.types import TP

from schemas import KafkaSettings
from stream_processors.faust_host.bounded_transport import bounded_transport
from stream_processors.faust_host.consumer import LibrdkafkaConsumer
from stream_processors.faust_host.messages import PartialAck
from stream_processors.faust_host.process import make_faust_app

pytestmark = pytest.mark.broker


#: Whom a consumer tells of rebalances; here there is none.
TOLD = ("on_partitions_revoked", "on_partitions_assigned")


async def unused(*_: object) -> None:
    raise AssertionError("nothing is read")


def member(line: KafkaSettings) -> Consumer:
    """Somebody else in the group, who has joined it."""
    consumer = Consumer({"bootstrap.servers": line.bootstrap_servers, "group.id": line.prefix})
    consumer.subscribe([line.frames])
    until_s = time.monotonic() + 20
    while not consumer.assignment():
        assert time.monotonic() < until_s, "does not join"
        consumer.poll(0.1)
    return consumer


def test_offsets_that_are_refused_go_with_the_next_commit(line: KafkaSettings) -> None:
    place, other = TP(line.frames, 0), TP(line.frames, 1)

    async def commit() -> tuple[bool, dict[TP, int], bool, dict[TP, int]]:
        app = make_faust_app(line.prefix, line)
        app.loop = asyncio.get_running_loop()
        transport = bounded_transport(line, 1)
        consumer = transport(app.conf.broker, app, app.loop).create_consumer(unused, **dict.fromkeys(TOLD, unused))
        assert isinstance(consumer, LibrdkafkaConsumer)
        await consumer.on_start()
        # The group has a member, so it takes nothing from who is none.
        stranger = await asyncio.to_thread(member, line)
        refused = await consumer._commit({place: 7, other: 3})
        owed = dict(consumer._filter_committable_offsets([]))
        await asyncio.to_thread(stranger.close)
        taken = await consumer._commit({**owed, other: 4})
        left = dict(consumer._filter_committable_offsets([]))
        await consumer.group_consumer.close()
        return refused, owed, taken, left

    assert asyncio.run(asyncio.wait_for(commit(), 60)) == (False, {place: 7, other: 3}, True, {})
    reader = Consumer({"bootstrap.servers": line.bootstrap_servers, "group.id": line.prefix})
    found = reader.committed([TopicPartition(line.frames, number) for number in (0, 1)], 10)
    reader.close()
    assert [each.offset for each in found] == [7, 4]


def test_a_message_of_a_run_is_committed_before_the_run_ends(
    line: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the watchdog would end a worker that has some slow frames in hand."""
    place, lost = TP(line.frames, 0), TP(line.frames, 1)

    async def commit() -> dict[TP, int]:
        app = make_faust_app(line.prefix, line)
        app.loop = asyncio.get_running_loop()
        transport = bounded_transport(line, 1)
        consumer = transport(app.conf.broker, app, app.loop).create_consumer(unused, **dict.fromkeys(TOLD, unused))
        assert isinstance(consumer, LibrdkafkaConsumer)
        app.consumer = consumer
        monkeypatch.setattr(consumer, "assignment", lambda: {place})
        for tp, offset in ((place, 4), (place, 5), (lost, 9)):
            event = SimpleNamespace(app=app, message=SimpleNamespace(tp=tp))
            PartialAck(event, offset).ack()
        return dict(consumer._filter_committable_offsets([place, lost]))

    assert asyncio.run(commit()) == {place: 6}
