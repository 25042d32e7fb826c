"""Kafka's identity of a topic besides its name.

A topic that was deleted and re-created has another id, and its offsets begin at 0.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection

from schemas.errors import NotAuthorised, TopicMissing
from schemas.settings import KafkaSettings
from transport.broker_cause import broker_error
from transport.clients import make_admin

_TIMEOUT_S = 5.0
_MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_EXCEPTION}


class TopicIdentity(NamedTuple):
    """Kafka's id of a topic, as Kafka prints it, and the numbers of its partitions."""

    topic_id: str
    partitions: tuple[int, ...]


class TopicIdentities:
    """Reader of the identities of a cluster's topics.

    Parameters
    ----------
    kafka
        ``host:port[,host:port]``.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._admin = make_admin(kafka)

    def of(self, topics: Collection[str]) -> dict[str, TopicIdentity]:
        """Return the identity of each topic.

        Raises
        ------
        BrokerUnavailable
            If no broker answers.
        TopicMissing
            If some of the topics do not exist.
        """
        asked = self._admin.describe_topics(TopicCollection(sorted(topics)), request_timeout=_TIMEOUT_S)
        found, missing = {}, []
        for name, future in asked.items():
            try:
                answer = future.result(_TIMEOUT_S + 1)
            except TimeoutError as error:
                raise broker_error(self._kafka, "no answer in time") from error
            except KafkaException as error:
                if error.args[0].code() in _MISSING:
                    missing.append(name)
                    continue
                if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    raise NotAuthorised("topic", name, "DESCRIBE") from error
                raise broker_error(self._kafka, error.args[0].str()) from error
            numbers = tuple(sorted(partition.id for partition in answer.partitions))
            found[name] = TopicIdentity(str(answer.topic_id), numbers)
        if missing:
            raise TopicMissing(missing, self._kafka.bootstrap_servers)
        return found
