"""Kafka transport for Faust that limits the bytes of frames in memory.

Its consumer is `stream_processors.faust_host.consumer`. Its producer sends nothing and does not connect: worker and
watch send through librdkafka (`stream_processors.worker.result_publisher`, `stream_processors.watch.publisher`). So no
client of Faust's own needs the settings of a secured broker.

Faust limits its stream buffers by a number of messages. That does not limit memory, as a message may have 16 MiB; and
while all buffers are under pressure, its fetch loop sleeps a whole second. This consumer limits bytes instead: it
waits in steps of some milliseconds until enough of the messages that it handed out have been answered.

Faust hands each message to the agent's stream as four asyncio tasks, so that a rebalance can interrupt a hand-over that
waits for room: 0.1 ms of Python. Here no message is handed over before there is room, so a plain call is enough, and
messages of a partition that wait anyway are handed over as one (`stream_processors.faust_host.messages`).
Messages that were read before a rebalance but not handed over are dropped, and the new owner of the partition reads
them again.

Written for faust-streaming 0.15.3 (pinned). It replaces ``_drain_messages`` of `faust.transport.consumer.Consumer`, and
everything that only this method calls.
"""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from faust.transport.drivers.aiokafka import Transport
from faust.transport.producer import Producer

from schemas.settings import KafkaSettings
from stream_processors.faust_host.consumer import LibrdkafkaConsumer
from stream_processors.faust_host.group_consumer import AHEAD_COUNT, FetchedBatch
from stream_processors.faust_host.messages import ReceivedMessage, runs
from transport.batch_trials.after_death import BatchTrials

#: Pause between two checks of the memory in use, in seconds.
_STEP_S = 0.02
#: Time without a message that is added or freed, in seconds, after which the garbage collector is called.
_STILL_S = 1.0


class IdleProducer(Producer):
    """Producer that Faust starts and stops, and that does nothing in between."""

    async def on_start(self) -> None:
        """Start nothing."""

    async def on_stop(self) -> None:
        """Stop nothing."""

    async def flush(self) -> None:
        """Flush nothing."""


class _InFlightBytes:
    """Messages that were handed over and still exist: waiting, in flight, or dropped and not freed yet.

    Faust's own set of them does not contain the waiting ones. Any thread may free a message; only the event loop
    counts.
    """

    def __init__(self) -> None:
        self.bytes = self.count = 0
        self._freed: deque[tuple[int, int]] = deque()
        self._changed_s = time.monotonic()

    def add(self, message: Any, messages: Collection[ReceivedMessage]) -> None:
        size, count = sum(each.size_bytes for each in messages), len(messages)
        self.bytes += size
        self.count += count
        self._changed_s = time.monotonic()
        weakref.finalize(message, self._freed.append, (size, count)).atexit = False

    def collect(self) -> None:
        """Call the garbage collector if nothing was added or freed for some time.

        It alone frees messages in a circle of references, and nothing else calls it while all wait for room.
        """
        if time.monotonic() - self._changed_s > _STILL_S:
            gc.collect()
            self._changed_s = time.monotonic()

    def update(self) -> None:
        while self._freed:
            size, count = self._freed.popleft()
            self.bytes -= size
            self.count -= count
            self._changed_s = time.monotonic()


def bounded_transport(
    kafka: KafkaSettings,
    budget_bytes: int,
    *,
    assignor: str = "roundrobin",
    trials: BatchTrials | None = None,
    is_busy: Callable[[], bool] = lambda: False,
    on_deleted: Callable[[str, int, int], object] = lambda topic, partition, count: None,
    on_in_flight_bytes: Callable[[int], object] = lambda size_bytes: None,
    on_read: Callable[[ReceivedMessage], object] = lambda message: None,
) -> type[Transport]:
    """Return the transport class whose consumer keeps at most ``budget_bytes``, plus one fetch.

    Parameters
    ----------
    assignor
        librdkafka's name of the strategy that assigns partitions. With ``range`` a member gets the same partitions of
        each topic.
    trials, is_busy, on_deleted
        See `stream_processors.faust_host.group_consumer.GroupConsumer`.
    on_in_flight_bytes
        Called with the number of bytes in memory.
    on_read
        Called with each message that is read, except unreadable batches.
    """
    in_flight = _InFlightBytes()

    class BoundedConsumer(LibrdkafkaConsumer):
        assignment_strategy = assignor

        async def _drain_messages(self, fetcher: Any) -> None:
            try:
                while not (self.should_stop or fetcher.should_stop):
                    await self._room()
                    await self._hand_over(await self.group_consumer.take())
            except asyncio.CancelledError:
                if not self.app.should_stop:
                    raise

        async def _room(self) -> None:
            while not self.should_stop:
                in_flight.update()
                on_in_flight_bytes(in_flight.bytes)
                # The stream's queue must have room for all these messages.
                if (
                    in_flight.bytes < budget_bytes
                    and in_flight.count < self.app.conf.stream_buffer_maxsize - AHEAD_COUNT
                ):
                    return
                in_flight.collect()
                await asyncio.sleep(_STEP_S)

        async def _hand_over(self, batch: FetchedBatch) -> None:
            for run in runs(batch.messages):
                if not self.flow_active:  # a rebalance
                    await self.wait(self.can_resume_flow.wait())
                if self.should_stop or self.group_consumer.is_stale(batch):
                    return
                message = self._to_message(None, run)
                in_flight.add(message, run)
                for each in run:
                    if each.batch is None:
                        on_read(each)
                await self.callback(message)
                await asyncio.sleep(0)  # other tasks get their turn

    class BoundedTransport(Transport):
        pass

    BoundedConsumer.kafka = kafka
    BoundedConsumer.trials = trials
    BoundedConsumer.is_busy = staticmethod(is_busy)
    BoundedConsumer.on_deleted = staticmethod(on_deleted)
    BoundedTransport.Consumer = BoundedConsumer
    BoundedTransport.Producer = IdleProducer
    return BoundedTransport
