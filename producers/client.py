"""Kafka client of a publisher: idempotent, low latency, bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

from producers.options import PublisherOptions
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES
from transport.producer import Producer, make_idempotent_producer

#: Most bytes of one batch; the default of the client.
_BATCH_BYTES = 1_000_000
#: Room in a batch for its own head.
_HEAD_BYTES = 512


def producer_config(
    options: PublisherOptions, batch_bytes: int | None = None, requests_in_flight: int | None = None
) -> dict[str, Any]:
    """Return the configuration of the Kafka client.

    ``batch_bytes`` is the largest batch that the topic accepts; the topic refuses a larger batch as a whole.
    ``requests_in_flight`` is the number of requests to a broker that are not acknowledged yet; None: the client's own.
    With 1, frames that come meanwhile go together in the next request: that saves broker and workers a request each.

    Examples
    --------
    >>> producer_config(PublisherOptions())["queue.buffering.max.kbytes"] > 0
    True
    """
    return {
        "delivery.timeout.ms": options.delivery_timeout_ms,
        "message.max.bytes": FRAMES.max_message_bytes,
        "batch.size": max(1, min(_BATCH_BYTES, (batch_bytes or 2 * _BATCH_BYTES) - _HEAD_BYTES)),
        # The client's default is 1 GiB of memory.
        "queue.buffering.max.messages": options.in_flight_frames,
        "queue.buffering.max.kbytes": options.in_flight_kib,
        **({} if requests_in_flight is None else {"max.in.flight.requests.per.connection": requests_in_flight}),
    }


def make_producer(
    kafka: KafkaSettings,
    options: PublisherOptions,
    on_error: Callable[[KafkaError], None],
    batch_bytes: int | None = None,
    requests_in_flight: int | None = None,
) -> Producer:
    """Start a Kafka client that is ready to send, see `transport.producer`."""
    return make_idempotent_producer(kafka, producer_config(options, batch_bytes, requests_in_flight), on_error)
