"""Publisher of drift events and snapshots, through librdkafka, for a program with an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from dataclasses import dataclass
from functools import partial as bind
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException

from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from transport.limited_log import LimitedLog
from transport.producer import Producer, make_idempotent_producer
from transport.refusals import Refused, refusal_of
from transport.surviving import surviving
from transport.topic_times import TopicTimes, at_ms

log = logging.getLogger(__name__)

#: If Kafka has not accepted a message after this time, in ms, sending it has failed.
_DELIVERY_TIMEOUT_MS = 30_000
_METADATA_MS = 5_000
_METADATA_TIMEOUT_S = 5.0
_POLL_S = 0.1
_FULL_S = 0.01
#: librdkafka's number for the partition that the key decides.
_BY_KEY = -1
#: A message is sent again this many times because another one of its batch was refused.
_NEIGHBOUR_TRIES = 50


class EventPublisher:
    """Publisher that connects with the first message, if not before. Call it from the event loop only.

    Parameters
    ----------
    kafka
        Address of Kafka.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer: Producer | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._limited = LimitedLog(log)
        self._times = TopicTimes()
        self._again: set[asyncio.Task[None]] = set()

    def connect(self) -> None:
        """Connect, and wait at most two seconds until the client can send. A thread may call it before the rest."""
        config = {
            "acks": "all",
            "delivery.timeout.ms": _DELIVERY_TIMEOUT_MS,
            "message.max.bytes": MAX_REQUEST_BYTES,
            "topic.metadata.refresh.interval.ms": _METADATA_MS,
        }
        self._producer = make_idempotent_producer(self._kafka, config, self._log_error)
        self._thread = threading.Thread(target=self._poll, args=(self._producer,), name="publish", daemon=True)
        self._thread.start()

    async def send(
        self, topic: str, key: bytes, value: bytes | None, partition: int | None = None
    ) -> asyncio.Future[None]:
        """Send a message; return a future that is done when the broker has acknowledged it.

        The future has a `KafkaException` if Kafka refuses the message or does not accept it in time.
        """
        loop = asyncio.get_running_loop()
        message = _Message(loop, loop.create_future(), topic, key, value, _BY_KEY if partition is None else partition)
        await self._produce(message)
        return message.sent

    async def _produce(self, message: _Message) -> None:
        producer = self._connected()
        while not message.sent.done():
            message.clip_s = self._times.clip_s(message.topic)
            try:
                producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    message.partition,
                    timestamp=at_ms(message.clip_s),
                    on_delivery=bind(self._delivered, message),
                )
                break
            except BufferError:
                await asyncio.sleep(_FULL_S)  # the other thread makes room
            except KafkaException as error:  # unknown partition, or larger than this client can send
                message.sent.set_exception(error)

    def _delivered(self, message: _Message, error: KafkaError | None, _: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            message.loop.call_soon_threadsafe(self._finish, message, error)

    def _finish(self, message: _Message, error: KafkaError | None) -> None:
        if message.sent.done():
            return
        if error is None:
            message.sent.set_result(None)
        elif self._is_worth_another_try(message, refusal_of(error)):
            task = message.loop.create_task(self._produce(message))
            self._again.add(task)
            task.add_done_callback(self._again.discard)
        else:
            message.sent.set_exception(KafkaException(error))

    async def refresh(self, topic: str) -> None:
        """Ask the broker for the partitions of a topic: some may be new."""
        with contextlib.suppress(KafkaException):  # then the next message says so
            await asyncio.to_thread(self._connected().list_topics, topic, _METADATA_TIMEOUT_S)

    def close(self) -> None:
        """Stop the thread. Call it when all messages are acknowledged."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self) -> Producer:
        if self._producer is None:
            self.connect()
        assert self._producer is not None
        return self._producer

    def _poll(self, producer: Producer) -> None:
        while not self._stop.is_set():
            with surviving(log, "the thread that publishes drift events"):
                try:
                    producer.poll(_POLL_S)
                except KafkaException as error:  # fatal: each message that waits, and each further one, fails too
                    self._log_error(error.args[0])
                    self._stop.wait(_POLL_S)

    def _log_error(self, error: KafkaError) -> None:
        self._limited.warning(str(error.code()), f"the client that publishes drift events: {error.str()}")

    def _is_worth_another_try(self, message: _Message, refusal: Refused | None) -> bool:
        if refusal is Refused.NEIGHBOUR:
            message.tries += 1
            return message.tries <= _NEIGHBOUR_TRIES
        # Brokers use the other error for a timestamp too.
        is_of_time = refusal in (Refused.TIMESTAMP, Refused.RECORD)
        return is_of_time and self._times.try_next(message.topic, message.clip_s)


@dataclass(eq=False, slots=True)
class _Message:
    """Message in flight; ``clip_s`` are the seconds that its timestamp differs from the time of this machine."""

    loop: asyncio.AbstractEventLoop
    sent: asyncio.Future[None]
    topic: str
    key: bytes
    value: bytes | None
    partition: int
    clip_s: float | None = None
    tries: int = 0
