"""Checks before work begins: the cluster answers, and the topics exist."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaException

from schemas.errors import BrokerUnavailable, TopicMissing
from schemas.settings import KafkaSettings
from transport.clients import make_admin


def list_topics(kafka: KafkaSettings, timeout_s: float = 5.0) -> dict[str, int]:
    """Return the names of the topics and their partition counts.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    """
    # log_level 0: otherwise librdkafka's own log lines of refused connections would reach the terminal.
    admin = make_admin(kafka)
    try:
        metadata = admin.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise BrokerUnavailable(kafka.bootstrap_servers, error.args[0].str()) from error
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def require_topics(kafka: KafkaSettings, names: Iterable[str], timeout_s: float = 5.0) -> dict[str, int]:
    """Return the partition counts of the named topics.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    TopicMissing
        If one of the topics does not exist; the message contains the command that creates it.
    """
    wanted = list(names)
    present = list_topics(kafka, timeout_s)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise TopicMissing(missing, kafka.bootstrap_servers)
    return {name: present[name] for name in wanted}
