"""The Kafka client of a publisher: idempotent, low latency, bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, Producer

from producers.options import PublisherOptions
from schemas.topics import FRAMES


def producer_config(bootstrap_servers: str, options: PublisherOptions) -> dict[str, Any]:
    """Configuration of the Kafka client.

    Examples
    --------
    >>> producer_config("k:9092", PublisherOptions())["enable.idempotence"]
    True
    """
    return {
        "bootstrap.servers": bootstrap_servers,
        "enable.idempotence": True,
        "linger.ms": 0,
        "delivery.timeout.ms": options.delivery_timeout_ms,
        "message.max.bytes": FRAMES.max_message_bytes,
        # Its default is 1 GiB of memory.
        "queue.buffering.max.messages": options.in_flight_frames,
        "queue.buffering.max.kbytes": options.in_flight_kib,
        "socket.timeout.ms": 10_000,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 2_000,
        # As the Java client and Faust: one key, one partition, whoever writes.
        "partitioner": "murmur2_random",
        # Its own lines would go straight to the terminal; errors come through error_cb.
        "log_level": 0,
    }


def make_producer(
    bootstrap_servers: str, options: PublisherOptions, on_error: Callable[[KafkaError], None]
) -> Producer:
    """Start a Kafka client; ``on_error`` is told what it would have logged, in the polling thread."""
    return Producer({**producer_config(bootstrap_servers, options), "error_cb": on_error})
