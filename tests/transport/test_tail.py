"""A tail that cannot read its topic says so, although the brokers answer."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic, ResourceType

from schemas import KafkaSettings
from schemas.errors import NotAuthorised, TopicMissing
from tests.support.secured import STRANGER, SecuredBroker
from transport.producer import make_producer
from transport.tail import Tail

pytestmark = pytest.mark.broker

Right = tuple[ResourceType, str, AclOperation]


def rights(kafka: KafkaSettings, *on_decisions: AclOperation) -> list[Right]:
    """Return the rights of a reader of decisions."""
    groups = [(ResourceType.GROUP, name, AclOperation.DESCRIBE) for name in ("unused-", "inspection-reader")]
    return [*groups, *((ResourceType.TOPIC, kafka.decisions, operation) for operation in on_decisions)]


def poll_until(tail: Tail, condition: Callable[[], bool], timeout_s: float = 30) -> list[bytes | None]:
    """Poll until the condition is true; return the values that came."""
    values, until_s = [], time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s
        if (message := tail.poll(0.05)) is not None:
            values.append(message.value())
    return values


@pytest.mark.parametrize("left", [(), (AclOperation.DESCRIBE,)], ids=["no right at all", "DESCRIBE"])
def test_a_lost_right_is_named_until_it_is_back(
    secured: SecuredBroker, unique: str, left: tuple[AclOperation, ...]
) -> None:
    secured.create_topics(unique)
    kafka = secured.settings(unique, secured.properties(STRANGER))
    secured.allow(*rights(kafka, AclOperation.READ))
    tail = Tail(kafka, kafka.decisions)
    tail.open()
    try:
        poll_until(tail, lambda: tail.connected)
        secured.allow(*rights(kafka, *left))
        poll_until(tail, lambda: not tail.connected)
        assert isinstance(tail.fault, NotAuthorised)
        assert f"may not READ the topic {kafka.decisions}" in str(tail.fault)
        age_s = tail.contact_age_s or 0.0
        until_s = time.monotonic() + 3
        poll_until(tail, lambda: time.monotonic() > until_s)
        assert not tail.connected
        assert (tail.contact_age_s or 0.0) >= age_s + 2.5
        producer = make_producer(secured.settings(unique), {})
        producer.produce(kafka.decisions, b"meanwhile", partition=0)
        assert producer.flush(20) == 0
        secured.allow(*rights(kafka, AclOperation.READ))
        values: list[bytes | None] = []
        until_s = time.monotonic() + 30
        while not (tail.connected and values) and time.monotonic() < until_s:
            values += [message.value()] if (message := tail.poll(0.05)) is not None else []
        assert (tail.fault, tail.connected, values) == (None, True, [b"meanwhile"])
    finally:
        tail.close()


def test_without_the_right_it_does_not_open(secured: SecuredBroker, unique: str) -> None:
    secured.create_topics(unique)
    kafka = secured.settings(unique, secured.properties(STRANGER))
    secured.allow(*rights(kafka, AclOperation.DESCRIBE))
    with pytest.raises(NotAuthorised, match=f"may not READ the topic {kafka.decisions}"):
        Tail(kafka, kafka.decisions).open()


def test_a_topic_that_is_gone_is_named_until_it_is_back(line: KafkaSettings) -> None:
    admin = AdminClient({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})
    tail = Tail(line, line.decisions)
    tail.open()
    try:
        poll_until(tail, lambda: tail.connected)
        admin.delete_topics([line.decisions])[line.decisions].result(20)
        poll_until(tail, lambda: not tail.connected)
        poll_until(tail, lambda: isinstance(tail.fault, TopicMissing))
        time.sleep(1)
        admin.create_topics([NewTopic(line.decisions, 6)])[line.decisions].result(20)
        poll_until(tail, lambda: tail.connected)
    finally:
        tail.close()
