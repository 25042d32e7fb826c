"""Faust's Kafka transport, holding at most so many bytes of frames in memory, and reading what is committed.

Faust bounds its stream buffers by a number of messages, which says nothing of memory when a message may be
16 MiB, and while all buffers are under pressure its fetch loop sleeps a whole second. This consumer bounds
bytes instead: it waits in steps of some milliseconds until enough of what it handed out has been answered.

Of transactions it reads the committed ones alone; Faust does so only with its own ``exactly_once``. They leave holes in
the offsets, at which Faust's rule of what may be committed can stop for good, so it has a simpler one here.

Faust hands each message to the agent's stream as four asyncio tasks, so that a rebalance can interrupt a hand-over that
waits for room: 0.1 ms of Python. Here a hand-over that cannot wait is a plain call.

Written against faust-streaming 0.15.3 (pinned); `Consumer._wait_next_records`, ``_drain_messages``, ``_new_offset``,
``_add_gap`` and `AIOKafkaConsumerThread._create_worker_consumer` are what it extends.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport

from stream_processors.header_names import tolerate_header_names
from stream_processors.metrics import WorkerMetrics
from stream_processors.overload import Newest

#: Pause between two looks at what is still held, in seconds.
_STEP_S = 0.02
#: Most bytes of one fetch; a first message that is larger comes all the same (KIP-74).
FETCH_BYTES = 4 * 1024 * 1024
#: Messages handed to the stream before other tasks get their turn.
_YIELD_EVERY = 16
#: Looks before the base class gets its turn all the same, so that a rebalance is never held up: 1 s in all.
_LOOKS = 50


class _CommittedOnly(AIOKafkaConsumerThread):
    """Makes the consumer as Faust does, but blind to transactions that were aborted or are open, and in small bites."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Read when it starts; Faust has no setting for them.
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_bytes = FETCH_BYTES
        return consumer


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


def bounded_transport(budget_bytes: int, metrics: WorkerMetrics, newest: Newest) -> type[Transport]:
    """Make the transport class whose consumer holds at most ``budget_bytes``, plus one fetch.

    ``newest`` is told of each frame that is read.
    """
    tolerate_header_names()
    held = _Held()

    class BoundedConsumer(Consumer):
        def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
            return _CommittedOnly(self, loop=self.loop, beacon=self.beacon)

        def _new_offset(self, tp: Any) -> int | None:
            """The offset to commit: the pipeline acks in order, so all before the newest acked frame is answered."""
            acked = self._acked[tp]
            if not acked:
                return None
            following = int(max(acked)) + 1
            acked.clear()
            self._acked_index[tp].clear()
            return following

        async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
            """Holes in the offsets need no book: see ``_new_offset``."""

        async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
            for _ in range(_LOOKS):
                held.look()
                metrics.held_bytes.set(held.bytes)
                buffers_full = self.flow_active and not self._get_active_partitions() and self._buffered_partitions
                if self.should_stop or (held.bytes < budget_bytes and not buffers_full):
                    break
                await asyncio.sleep(_STEP_S)
            else:
                return {}, self._get_active_partitions()
            return await super()._wait_next_records(timeout)

        async def _drain_messages(self, fetcher: Any) -> None:
            handed = 0
            try:
                while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                    fetched = self.getmany(timeout=1.0)
                    await self.sleep(0)
                    if self.should_stop:
                        return
                    async for tp, message in fetched:
                        handed += 1
                        if handed % _YIELD_EVERY == 0:
                            await asyncio.sleep(0)
                        read = self._read_offset[tp]
                        if read is None or message.offset >= read:
                            await self._hand_over(message)
                            self._read_offset[tp] = message.offset
            except self.consumer_stopped_errors:
                if not self.transport.app.should_stop:
                    raise
            except asyncio.CancelledError:
                if not self.transport.app.should_stop:
                    raise

        async def _hand_over(self, message: Any) -> None:
            held.look()
            held.add(message)
            newest.read(message.partition, message.key, message.offset)
            app = self.transport.app
            # The stream's queue has room for more than all that is held.
            is_free = app.flow_control.is_active() and held.count < app.conf.stream_buffer_maxsize
            if is_free and self.flow_active and not self.suspend_flow.is_set():
                await self.callback(message)
            else:
                await self.wait_first(self.callback(message), self.suspend_flow.wait())

    class BoundedTransport(Transport):
        pass

    BoundedTransport.Consumer = BoundedConsumer
    return BoundedTransport
