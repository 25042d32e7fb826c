"""The thread that reads frames where Kafka is away or the client breaks; the rest is tested with the worker."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import KafkaException

from schemas.settings import KafkaSettings
from stream_processors.faust_host import group_consumer
from stream_processors.faust_host.group_consumer import GroupConsumer, PartitionKey

#: Nobody listens there.
NOWHERE = KafkaSettings("127.0.0.1:9")
CONFIG = {"group.id": "g"}


class Told:
    """Keeps what the reader tells of."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    async def assigned(self, places: set[PartitionKey]) -> None:
        raise AssertionError("nothing can be assigned")

    async def revoked(self, places: set[PartitionKey]) -> None:
        raise AssertionError("nothing can be revoked")

    async def failed(self, error: BaseException) -> None:
        self.error = error


def test_without_a_broker_it_waits_and_can_be_closed() -> None:
    async def read() -> None:
        reader = GroupConsumer(NOWHERE, CONFIG, Told())
        await reader.subscribe(["frames"])
        taking = asyncio.ensure_future(reader.take())
        assert not (await asyncio.wait({taking}, timeout=0.2))[0]
        await reader.close()
        assert (await taking).messages == []
        assert not reader.assigned

    asyncio.run(asyncio.wait_for(read(), 20))


def test_what_breaks_the_client_is_told_and_nobody_waits_for_it() -> None:
    async def read() -> BaseException | None:
        told = Told()
        reader = GroupConsumer(NOWHERE, CONFIG, told)
        given_up = asyncio.ensure_future(reader.rewind())
        given_up.cancel()  # must not break it
        await reader._call(reader._consumer.close)
        for call in (lambda: reader.commit({("frames", 0): 1}), reader.rewind, lambda: reader.subscribe(["frames"])):
            with pytest.raises(KafkaException, match="the reader has ended"):
                await call()
        await reader.close()
        return told.error

    assert isinstance(asyncio.run(asyncio.wait_for(read(), 20)), RuntimeError)


def test_a_commit_without_an_answer_does_not_hold_up_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader must poll meanwhile: a new password, or a rebalance, may be what the answer needs."""
    monkeypatch.setattr(group_consumer, "_COMMIT_S", 2.0)

    async def commit() -> None:
        # The client ends when it gives the commit up, which is after a session timeout.
        reader = GroupConsumer(NOWHERE, {**CONFIG, "session.timeout.ms": 3_000}, Told())
        committing = asyncio.ensure_future(reader.commit({("frames", 0): 1}))
        assert not (await asyncio.wait({committing}, timeout=0.5))[0]
        assert await asyncio.wait_for(reader._call(lambda: "polls"), 1) == "polls"
        with pytest.raises(KafkaException, match="the coordinator does not answer"):
            await committing
        await reader.close()

    asyncio.run(asyncio.wait_for(commit(), 20))
