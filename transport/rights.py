"""Check of the user's rights before work begins: a client without them would wait, spool, or only write log lines."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]

from schemas.errors import NotAuthorised
from schemas.settings import KafkaSettings
from transport.broker_cause import kafka_error
from transport.clients import make_admin

_TIMEOUT_S = 5.0


def require_rights(kafka: KafkaSettings, *, read: Iterable[str] = (), write: Iterable[str] = ()) -> None:
    """Do nothing if the user may read and write these topics. Without a client configuration nothing is asked.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    NotAuthorised
        If a right is missing; the message names it.
    """
    if not kafka.client:
        return
    needed = [(name, AclOperation.READ) for name in read] + [(name, AclOperation.WRITE) for name in write]
    topics = TopicCollection(sorted({name for name, _ in needed}))
    admin = make_admin(kafka)
    asked = admin.describe_topics(topics, include_authorized_operations=True, request_timeout=_TIMEOUT_S)
    for name, operation in needed:
        try:
            allowed = asked[name].result(_TIMEOUT_S + 1).authorized_operations
        except KafkaException as error:
            raise kafka_error(kafka, error.args[0], name, "DESCRIBE") from error
        if allowed is not None and operation not in allowed:
            raise NotAuthorised("topic", name, operation.name)
