"""Helper that adds partitions to a topic."""

from __future__ import annotations

import time

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient, NewPartitions

from schemas.settings import KafkaSettings
from transport.admin import list_topics


def add_partitions(bootstrap_servers: str, topic: str, count: int) -> None:
    """Raise the number of partitions of a topic, and wait until a new client learns of them."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    admin.create_partitions([NewPartitions(topic, count)])[topic].result(20)
    deadline = time.monotonic() + 20
    while list_topics(KafkaSettings(bootstrap_servers))[topic] < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def delivered(error: object, message: Message) -> None:
    """Fail if the broker has not taken a message."""
    assert error is None, error
