"""A Kafka producer that never writes a message twice, ready from its first message on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, Producer

#: A broker that does not answer by then is the caller's business.
_READY_S = 2.0
_STATISTICS_MS = 100

#: How whoever lives long is connected.
CONNECTION: Mapping[str, Any] = {
    "socket.timeout.ms": 10_000,
    "socket.keepalive.enable": True,
    "reconnect.backoff.max.ms": 2_000,
    # Its own lines would go straight to the terminal; errors come through error_cb.
    "log_level": 0,
}
#: What all producers of a line have in common.
COMMON: Mapping[str, Any] = {
    **CONNECTION,
    "enable.idempotence": True,
    "linger.ms": 0,
    # As the Java client and Faust: one key, one partition, whoever writes.
    "partitioner": "murmur2_random",
}


def make_idempotent_producer(config: Mapping[str, Any], on_error: Callable[[KafkaError], None]) -> Producer:
    """Start a Kafka client and wait, `_READY_S` at most, until it can send.

    Without the wait the first messages take half a second: an idempotent client asks for its identity when the
    connection is up, and looks for that twice a second. Only its statistics say when it has one.

    Parameters
    ----------
    config
        Of librdkafka, `COMMON` among it.
    on_error
        Told what the client would have logged, in the polling thread.
    """
    ready = False

    def on_statistics(statistics: str) -> None:
        nonlocal ready
        ready = ready or '"idemp_state":"Assigned"' in statistics.replace(" ", "")

    watched = {"error_cb": on_error, "stats_cb": on_statistics, "statistics.interval.ms": _STATISTICS_MS}
    producer = Producer({**config, **watched})
    deadline_s = time.monotonic() + _READY_S
    while not ready and time.monotonic() < deadline_s:
        producer.poll(0.01)
    return producer
