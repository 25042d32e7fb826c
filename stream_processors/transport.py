"""Faust's Kafka transport, holding at most so many bytes of frames in memory.

Its consumer is `stream_processors.faust_consumer`; Faust's producer stays and has nothing to do, see
`stream_processors.outbox`.

Faust bounds its stream buffers by a number of messages, which says nothing of memory when a message may be
16 MiB, and while all buffers are under pressure its fetch loop sleeps a whole second. This consumer bounds
bytes instead: it waits in steps of some milliseconds until enough of what it handed out has been answered.

Faust hands each message to the agent's stream as four asyncio tasks, so that a rebalance can interrupt a hand-over that
waits for room: 0.1 ms of Python. Here nothing is handed over before there is room, and so it is a plain call. What was
read before a rebalance and not handed over is dropped, and read again by whoever has its partition.

Written against faust-streaming 0.15.3 (pinned); ``_drain_messages`` of `faust.transport.consumer.Consumer` is what it
replaces, with all that only it calls.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from faust.transport.drivers.aiokafka import Transport

from stream_processors.batch_trials import BatchTrials
from stream_processors.faust_consumer import LibrdkafkaConsumer, NoValue
from stream_processors.reader import AHEAD_COUNT, Batch

#: Pause between two looks at what is still held, in seconds.
_STEP_S = 0.02
#: Messages handed to the stream before other tasks get their turn.
_YIELD_EVERY = 16


class _Held:
    """Messages that were handed over and still exist: waiting, under way, or dropped and not freed yet.

    Faust's own set of them does not have those that wait. Whichever thread frees a message, only the event loop counts.
    """

    def __init__(self) -> None:
        self.bytes = self.count = 0
        self._freed: deque[int] = deque()

    def add(self, message: Any) -> None:
        size = len(message.value or b"")
        self.bytes += size
        self.count += 1
        weakref.finalize(message, self._freed.append, size).atexit = False

    def look(self) -> None:
        while self._freed:
            self.bytes -= self._freed.popleft()
            self.count -= 1


def bounded_transport(
    bootstrap_servers: str,
    budget_bytes: int,
    *,
    assignor: str = "roundrobin",
    trials: BatchTrials | None = None,
    on_held: Callable[[int], object] = lambda size_bytes: None,
    on_read: Callable[[Any], object] = lambda message: None,
) -> type[Transport]:
    """Make the transport class whose consumer holds at most ``budget_bytes``, plus one fetch.

    Parameters
    ----------
    assignor
        librdkafka's name of the strategy that shares partitions out. With ``range`` a member gets the same partitions
        of each topic.
    trials
        See `stream_processors.reader.Reader`.
    on_held
        Called with the number of bytes that are held.
    on_read
        Called with each message that is read.
    """
    held = _Held()

    class BoundedConsumer(LibrdkafkaConsumer):
        assignment_strategy = assignor

        async def _drain_messages(self, fetcher: Any) -> None:
            try:
                while not (self.should_stop or fetcher.should_stop):
                    await self._room()
                    await self._hand_over(await self.reader.take())
            except asyncio.CancelledError:
                if not self.app.should_stop:
                    raise

        async def _room(self) -> None:
            while not self.should_stop:
                held.look()
                on_held(held.bytes)
                # The stream's queue must have room for all that is held.
                if held.bytes < budget_bytes and held.count < self.app.conf.stream_buffer_maxsize - AHEAD_COUNT:
                    return
                await asyncio.sleep(_STEP_S)

        async def _hand_over(self, batch: Batch) -> None:
            for number, record in enumerate(batch.messages, 1):
                if not self.flow_active:  # a rebalance
                    await self.wait(self.can_resume_flow.wait())
                if self.should_stop or self.reader.is_stale(batch):
                    return
                message = self._to_message(None, record)
                held.add(message)
                if not isinstance(message.value, NoValue):
                    on_read(message)
                await self.callback(message)
                if number % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)

    class BoundedTransport(Transport):
        pass

    BoundedConsumer.bootstrap_servers = bootstrap_servers
    BoundedConsumer.trials = trials
    BoundedTransport.Consumer = BoundedConsumer
    return BoundedTransport
