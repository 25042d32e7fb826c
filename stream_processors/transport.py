"""Faust's Kafka transport, holding at most so many bytes of frames in memory.

Faust bounds its stream buffers by a number of messages, which says nothing of memory when a message may be
16 MiB, and while all buffers are under pressure its fetch loop sleeps a whole second. This consumer bounds
bytes instead: it waits in steps of a few milliseconds until enough of what it handed out has been answered.
Written against faust-streaming 0.15.3 (pinned); `Consumer._wait_next_records` is what it extends.
"""

from __future__ import annotations

import asyncio
from typing import Any

from faust.transport.drivers.aiokafka import Consumer, Transport

from stream_processors.metrics import WorkerMetrics
from stream_processors.overload import Newest

#: Pause between two looks at what is still held, in seconds.
_STEP_S = 0.002
#: Looks before the base class gets its turn all the same, so that a rebalance is never held up: 1 s in all.
_LOOKS = 500


def bounded_transport(budget_bytes: int, metrics: WorkerMetrics, newest: Newest) -> type[Transport]:
    """Make the transport class whose consumer holds at most ``budget_bytes``, plus one fetch.

    ``newest`` is told of each frame that is read.
    """

    class BoundedConsumer(Consumer):
        def track_message(self, message: Any) -> None:
            newest.read(message.partition, message.key, message.offset)
            super().track_message(message)

        async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
            for _ in range(_LOOKS):
                held = sum(len(message.value or b"") for message in tuple(self._unacked_messages))
                metrics.held_bytes.set(held)
                buffers_full = self.flow_active and not self._get_active_partitions() and self._buffered_partitions
                if self.should_stop or (held < budget_bytes and not buffers_full):
                    break
                await asyncio.sleep(_STEP_S)
            else:
                return {}, self._get_active_partitions()
            return await super()._wait_next_records(timeout)

    class BoundedTransport(Transport):
        pass

    BoundedTransport.Consumer = BoundedConsumer
    return BoundedTransport
