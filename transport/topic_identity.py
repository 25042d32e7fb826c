"""Kafka's identity of a topic besides its name.

A topic that was deleted and re-created has another id, and its offsets begin at 0.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]

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

    def of(self, topics: Collection[str], *, to_read: bool = False) -> dict[str, TopicIdentity]:
        """Return the identity of each topic.

        Parameters
        ----------
        to_read
            True: the user must have the right to read each topic, too.

        Raises
        ------
        BrokerUnavailable
            If no broker answers.
        NotAuthorised
            If the user may not see one of the topics, or, with ``to_read``, not read it.
        TopicMissing
            If some of the topics do not exist.
        """
        asked = self._admin.describe_topics(
            TopicCollection(sorted(topics)), include_authorized_operations=to_read, request_timeout=_TIMEOUT_S
        )
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
                    raise NotAuthorised("topic", name, "READ" if to_read else "DESCRIBE") from error
                raise broker_error(self._kafka, error.args[0].str()) from error
            rights = answer.authorized_operations
            if to_read and rights and AclOperation.READ not in rights:  # no list: the cluster does not tell
                raise NotAuthorised("topic", name, "READ")
            numbers = tuple(sorted(partition.id for partition in answer.partitions))
            found[name] = TopicIdentity(str(answer.topic_id), numbers)
        if missing:
            raise TopicMissing(missing, self._kafka.bootstrap_servers)
        return found
