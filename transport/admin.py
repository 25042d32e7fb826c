"""Checks before work begins: the cluster answers, and the topics exist."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError

from schemas.errors import NotAuthorised, TopicMissing
from schemas.settings import KafkaSettings
from transport.broker_cause import FirstError
from transport.clients import make_admin
from transport.cluster_metadata import fetch_metadata


def list_topics(kafka: KafkaSettings, timeout_s: float = 5.0) -> dict[str, int]:
    """Return the names of the topics and their partition counts. Topics that the user may not see are left out.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time. `BrokerRefused` and `BrokerUntrusted` come sooner.
    """
    first = FirstError()
    metadata = fetch_metadata(kafka, make_admin(kafka, on_error=first), first, timeout_s)
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def require_topics(kafka: KafkaSettings, names: Iterable[str], timeout_s: float = 5.0) -> dict[str, int]:
    """Return the partition counts of the named topics.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    NotAuthorised
        If the user may not see one of the topics.
    TopicMissing
        If one of the topics does not exist; the message contains the command that creates it.
    """
    wanted = list(names)
    present = list_topics(kafka, timeout_s)
    missing = [name for name in wanted if name not in present]
    if missing:
        require_visible(kafka, missing, timeout_s)
        raise TopicMissing(missing, kafka.bootstrap_servers)
    return {name: present[name] for name in wanted}


def require_visible(kafka: KafkaSettings, names: Iterable[str], timeout_s: float = 5.0) -> None:
    """Do nothing if the user may see the topics, there or not. A list of all topics hides those without a right.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    NotAuthorised
        If the user may not see one of the topics.
    """
    first = FirstError()
    admin = make_admin(kafka, on_error=first)
    for name in names:
        error = fetch_metadata(kafka, admin, first, timeout_s, name).topics[name].error
        if error is not None and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise NotAuthorised("topic", name, "DESCRIBE")
