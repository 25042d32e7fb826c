"""Checks before work begins: the cluster answers, and the topics exist."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable, TopicMissing


def list_topics(bootstrap_servers: str, timeout_s: float = 5.0) -> dict[str, int]:
    """Return the names of the topics and their partition counts.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    """
    # log_level 0: otherwise librdkafka's own log lines of refused connections would reach the terminal.
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0, "socket.timeout.ms": 4000})
    try:
        metadata = admin.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise BrokerUnavailable(bootstrap_servers, error.args[0].str()) from error
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def require_topics(bootstrap_servers: str, names: Iterable[str], timeout_s: float = 5.0) -> dict[str, int]:
    """Return the partition counts of the named topics.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    TopicMissing
        If one of the topics does not exist; the message contains the command that creates it.
    """
    wanted = list(names)
    present = list_topics(bootstrap_servers, timeout_s)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise TopicMissing(missing, bootstrap_servers)
    return {name: present[name] for name in wanted}
