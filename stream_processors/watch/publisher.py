"""Publisher of drift events and snapshots, through librdkafka, for a program with an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from functools import partial as bind
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException

from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from transport.limited_log import LimitedLog
from transport.producer import Producer, make_idempotent_producer

log = logging.getLogger(__name__)

#: If Kafka has not accepted a message after this time, in ms, sending it has failed.
_DELIVERY_TIMEOUT_MS = 30_000
_METADATA_MS = 5_000
_METADATA_TIMEOUT_S = 5.0
_POLL_S = 0.1
_FULL_S = 0.01
#: librdkafka's number for the partition that the key decides.
_BY_KEY = -1


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
        sent: asyncio.Future[None] = loop.create_future()
        number = _BY_KEY if partition is None else partition
        producer = self._connected()
        while not sent.done():
            try:
                producer.produce(topic, value, key, number, on_delivery=bind(_delivered, loop, sent))
                break
            except BufferError:
                await asyncio.sleep(_FULL_S)  # the other thread makes room
            except KafkaException as error:  # unknown partition, or larger than this client can send
                sent.set_exception(error)
        return sent

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
            try:
                producer.poll(_POLL_S)
            except KafkaException as error:  # fatal: each message that waits, and each further one, fails too
                self._log_error(error.args[0])
                self._stop.wait(_POLL_S)

    def _log_error(self, error: KafkaError) -> None:
        self._limited.warning(str(error.code()), f"the client that publishes drift events: {error.str()}")


def _delivered(
    loop: asyncio.AbstractEventLoop, sent: asyncio.Future[None], error: KafkaError | None, _: object
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(_finish, sent, error)


def _finish(sent: asyncio.Future[None], error: KafkaError | None) -> None:
    if sent.done():
        return
    if error is None:
        sent.set_result(None)
    else:
        sent.set_exception(KafkaException(error))
