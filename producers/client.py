"""The Kafka client of a publisher: idempotent, low latency, bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, Producer

from producers.options import PublisherOptions
from schemas.idempotent import COMMON, make_idempotent_producer
from schemas.topics import FRAMES


def producer_config(bootstrap_servers: str, options: PublisherOptions) -> dict[str, Any]:
    """Configuration of the Kafka client.

    Examples
    --------
    >>> producer_config("k:9092", PublisherOptions())["enable.idempotence"]
    True
    """
    return {
        **COMMON,
        "bootstrap.servers": bootstrap_servers,
        "delivery.timeout.ms": options.delivery_timeout_ms,
        "message.max.bytes": FRAMES.max_message_bytes,
        # Its default is 1 GiB of memory.
        "queue.buffering.max.messages": options.in_flight_frames,
        "queue.buffering.max.kbytes": options.in_flight_kib,
    }


def make_producer(
    bootstrap_servers: str, options: PublisherOptions, on_error: Callable[[KafkaError], None]
) -> Producer:
    """Start a Kafka client that is ready to send, see `schemas.idempotent`."""
    return make_idempotent_producer(producer_config(bootstrap_servers, options), on_error)
