"""Decisions and dead letters on their way to Kafka, through librdkafka.

Faust's own producer, aiokafka, is Python; librdkafka takes a fraction of its time for a message, and sends
what comes in one moment as one request. A message is out when the broker has acknowledged it, not before.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas.idempotent import COMMON, make_idempotent_producer
from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from stream_processors.answer import Answer

log = logging.getLogger(__name__)

#: An answer that Kafka has not taken by then ends the worker.
DELIVERY_TIMEOUT_MS = 30_000
_QUEUE_KIB = 128 * 1024
_POLL_S = 0.1
#: Pause after acknowledgements: several are taken at once, and nobody's answer waits for them.
_REST_S = 0.005
_FULL_S = 0.005


class Outbox:
    """Publishes answers; to be called from any thread.

    Parameters
    ----------
    kafka
        Where Kafka is. The client is waited for, two seconds at most.
    fail
        Called with the error, in the outbox's own thread, when Kafka does not take an answer.
    """

    def __init__(self, kafka: KafkaSettings, fail: Callable[[BaseException], object]) -> None:
        self._decisions, self._dead_letters = kafka.decisions, kafka.dead_letters
        self._fail = fail
        self._producer: Producer = make_idempotent_producer(
            {
                **COMMON,
                "bootstrap.servers": kafka.bootstrap_servers,
                "acks": "all",
                "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
                "message.max.bytes": MAX_REQUEST_BYTES,
                "queue.buffering.max.kbytes": _QUEUE_KIB,
            },
            _log_error,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="outbox", daemon=True)
        self._thread.start()

    def publish(self, answer: Answer, trace: bytes | None, done: Callable[[], object]) -> None:
        """Send what an answer has; ``done`` is called, in the outbox's thread, when Kafka has acknowledged all of it.

        ``trace`` is the ``traceparent`` header of the decision.
        """
        messages: list[dict[str, Any]] = []
        if answer.decision is not None:
            messages.append(
                {
                    "topic": self._decisions,
                    "key": answer.decision.key.encode(),
                    "value": answer.decision_bytes,
                    "headers": [("traceparent", trace)] if trace else None,
                }
            )
        if answer.dead_letter is not None:
            messages.append({"topic": self._dead_letters, "key": answer.dead_letter_key, "value": answer.dead_letter})
        sent = _Sent(len(messages), done, self._fail)
        for message in messages:
            self._produce(message, sent)

    def close(self) -> None:
        """Stop the thread; to be called when all that was published is done."""
        self._stop.set()
        self._thread.join()

    def _produce(self, message: dict[str, Any], sent: _Sent) -> None:
        while True:
            try:
                self._producer.produce(**message, on_delivery=sent.delivered)
                return
            except BufferError:
                time.sleep(_FULL_S)  # the other thread makes room

    def _poll(self) -> None:
        while not self._stop.wait(_REST_S):
            self._producer.poll(_POLL_S)


class _Sent:
    """Counts the acknowledgements of one answer."""

    __slots__ = ("_done", "_fail", "_left")

    def __init__(self, count: int, done: Callable[[], object], fail: Callable[[BaseException], object]) -> None:
        self._left, self._done, self._fail = count, done, fail

    def delivered(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self._fail(KafkaException(error))
            return
        self._left -= 1
        if not self._left:
            self._done()


def _log_error(error: KafkaError) -> None:
    log.warning("the client that publishes decisions: %s", error.str())
