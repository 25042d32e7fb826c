"""Kafka producers that never write a message twice; one of them is ready from its first message on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError
from confluent_kafka import Producer as Producer

from schemas.settings import KafkaSettings
from transport.clients import LONG_LIVED, client_config

#: Longest wait for the broker, in seconds. The caller handles a broker that has not answered by then.
_READY_S = 2.0
_STATISTICS_MS = 100

#: Settings that all producers of a line share.
_COMMON: Mapping[str, Any] = {
    "enable.idempotence": True,
    "linger.ms": 0,
    # The partitioner of the Java client and of Faust: one key has one partition, whichever client writes.
    "partitioner": "murmur2_random",
}


def make_producer(kafka: KafkaSettings, config: Mapping[str, Any]) -> Producer:
    """Make a producer that never writes a message twice. It connects in the background.

    Parameters
    ----------
    config
        Further settings of librdkafka.
    """
    return Producer({**client_config(kafka), **_COMMON, **config})


def make_idempotent_producer(
    kafka: KafkaSettings, config: Mapping[str, Any], on_error: Callable[[KafkaError], None]
) -> Producer:
    """Make a long-lived producer, and wait at most `_READY_S` until it can send.

    Without the wait the first messages take half a second: an idempotent client asks for its identity when the
    connection is up, and checks the connection only twice a second. Only the client's statistics show that it has an
    identity.

    Parameters
    ----------
    config
        Further settings of librdkafka.
    on_error
        Called in the polling thread with each error that the client would have logged.
    """
    ready = False

    def on_statistics(statistics: str) -> None:
        nonlocal ready
        ready = ready or '"idemp_state":"Assigned"' in statistics.replace(" ", "")

    watched = {"error_cb": on_error, "stats_cb": on_statistics, "statistics.interval.ms": _STATISTICS_MS}
    producer = make_producer(kafka, {**LONG_LIVED, **config, **watched})
    deadline_s = time.monotonic() + _READY_S
    while not ready and time.monotonic() < deadline_s:
        producer.poll(0.01)
    return producer
