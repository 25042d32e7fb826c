"""The Kafka client of a publisher: idempotent, low latency, bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, Producer

from producers.options import PublisherOptions
from schemas.topics import FRAMES

#: A broker that does not answer by then is left to the publisher's queue and its policy.
_READY_S = 2.0
_STATISTICS_MS = 100


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
    """Start a Kafka client and wait, `_READY_S` at most, until it can send.

    Without the wait the first frames of a camera take half a second: an idempotent client asks for its identity
    when the connection is up, and looks for that twice a second. Only its statistics say when it has one.
    ``on_error`` is told what the client would have logged, in the polling thread.
    """
    ready = False

    def on_statistics(statistics: str) -> None:
        nonlocal ready
        ready = ready or '"idemp_state":"Assigned"' in statistics.replace(" ", "")

    producer = Producer(
        {
            **producer_config(bootstrap_servers, options),
            "error_cb": on_error,
            "stats_cb": on_statistics,
            "statistics.interval.ms": _STATISTICS_MS,
        }
    )
    deadline_s = time.monotonic() + _READY_S
    while not ready and time.monotonic() < deadline_s:
        producer.poll(0.01)
    return producer
