"""First request of a client: the topics of the cluster. It ends soon if waiting does not help."""

from __future__ import annotations

from confluent_kafka import KafkaException
from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]

from schemas.settings import KafkaSettings
from transport.broker_cause import FirstError, broker_error
from transport.clients import AdminClient, Consumer

#: Time after which the error of the connection is asked for, in seconds.
_LOOK_S = 1.0


def fetch_metadata(
    kafka: KafkaSettings,
    client: AdminClient | Consumer,
    first: FirstError,
    timeout_s: float,
    topic: str | None = None,
) -> ClusterMetadata:
    """Return the topics that the user may see.

    Parameters
    ----------
    client, first
        Client, and its ``error_cb``.
    topic
        Only this topic, there or not, visible or not; its ``error`` says so.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time. `BrokerRefused` and `BrokerUntrusted` come sooner.
    """
    try:
        return _ask(client, topic, min(_LOOK_S, timeout_s))
    except KafkaException as error:
        client.poll(0)  # calls `first`
        if first.is_final or timeout_s <= _LOOK_S:
            raise broker_error(kafka, error.args[0].str(), first) from error
    try:
        return _ask(client, topic, timeout_s - _LOOK_S)
    except KafkaException as error:
        client.poll(0)
        raise broker_error(kafka, error.args[0].str(), first) from error


def _ask(client: AdminClient | Consumer, topic: str | None, timeout_s: float) -> ClusterMetadata:
    return client.list_topics(timeout=timeout_s) if topic is None else client.list_topics(topic, timeout=timeout_s)
