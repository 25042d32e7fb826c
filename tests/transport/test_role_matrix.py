"""Each role on a real broker: what the table allows works, and Kafka refuses all else."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from schemas import KafkaSettings
from schemas.errors import NotAuthorised
from schemas.groups import READER, RETRIES, WATCH, WATCH_STATE, WORKERS, unused_group
from schemas.roles import ROLES, Principals, Role, retry_id, rights_of
from schemas.topics import TOPICS
from tests.support.secured import SecuredBroker
from transport.acl_setup import apply_acls
from transport.broker_cause import kafka_error
from transport.clients import make_admin, make_consumer
from transport.producer import make_producer
from transport.range_reader import read_topic

pytestmark = pytest.mark.broker

PASSWORD = "r0le-pass-of-the-suite"
PATIENCE_S = 60.0
#: What Kafka answers to a user without the right.
REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
#: Answers to a request that was allowed, and had nothing to do.
DONE = {KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.GROUP_ID_NOT_FOUND}

#: Cell of the matrix: operation, kind and name of a resource.
Cell = tuple[str, str, str]
Outcomes = dict[Cell, KafkaError | NotAuthorised | None]


@dataclass(frozen=True)
class User:
    """User with one role, and the names that its cells are about."""

    kafka: KafkaSettings
    role: Role
    topics: tuple[str, ...]
    groups: tuple[str, ...]
    ids: tuple[str, ...]

    def cells(self) -> Outcomes:
        """Try each cell as a client of this user; return the error of each, None if it works."""
        found = {**self.reads(), **self.writes(), **self.settings(), **self.memberships(), **self.transactions()}
        found["ALTER", "cluster", "kafka-cluster"] = self.change_rights()
        return found

    def allowed(self, cell: Cell) -> bool:
        """Return True if the table allows the cell."""
        operation, kind, name = cell
        granted = {
            right.operation
            for right in rights_of(self.role, self.kafka.prefix)
            if right.kind == kind and (name.startswith(right.name) if right.is_prefix else name == right.name)
        }
        if operation == "DESCRIBE":
            return bool(granted & {"READ", "WRITE", "DESCRIBE"})
        return operation in granted

    def reads(self) -> Outcomes:
        """Read each topic as our programs do."""
        found: Outcomes = {}
        for name in self.topics:
            try:
                found["READ", "topic", name] = None
                assert list(read_topic(self.kafka, name))
            except NotAuthorised as error:
                found["READ", "topic", name] = error
        return found

    def writes(self) -> Outcomes:
        """Write to each topic with a producer of its own, as each program has one that never writes twice."""
        return {("WRITE", "topic", name): self.write(name) for name in self.topics}

    def write(self, topic: str) -> KafkaError | None:
        errors: list[KafkaError | None] = []
        producer = make_producer(self.kafka, {"message.timeout.ms": round(PATIENCE_S * 1000)})
        try:
            producer.produce(topic, b"x", b"k", on_delivery=lambda error, _: errors.append(error))
            producer.flush(PATIENCE_S)
        except KafkaException as error:
            return error.args[0]
        return errors[0]

    def settings(self) -> Outcomes:
        """Ask for topics and their settings, create, change and delete them."""
        admin = make_admin(self.kafka, 30_000)
        found: Outcomes = {}
        for name in self.topics:
            about = admin.list_topics(name, timeout=30).topics[name].error
            found["DESCRIBE", "topic", name] = about
            resource = ConfigResource(ConfigResource.Type.TOPIC, name)
            found["DESCRIBE_CONFIGS", "topic", name] = error_of(admin.describe_configs([resource]))
            found["CREATE", "topic", name] = error_of(admin.create_topics([NewTopic(name, 1)], validate_only=True))
            change = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
            changed = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[change])
            found["ALTER_CONFIGS", "topic", name] = error_of(
                admin.incremental_alter_configs([changed], validate_only=True)
            )
            found["DELETE", "topic", name] = error_of(admin.delete_topics([name]))
        for name in self.groups:
            found["DESCRIBE", "group", name] = error_of(admin.describe_consumer_groups([name]))
        return found

    def memberships(self) -> Outcomes:
        """Join each group, as a worker does."""
        return {("READ", "group", name): self.join(name) for name in self.groups}

    def join(self, group: str) -> KafkaError | None:
        visible = next(right.name for right in rights_of(self.role, self.kafka.prefix) if right.kind == "topic")
        joined: list[bool] = []
        consumer = make_consumer(self.kafka, {"group.id": group, "enable.auto.commit": False})
        consumer.subscribe([visible], on_assign=lambda *_: joined.append(True))
        until_s = time.monotonic() + PATIENCE_S
        try:
            while not joined:
                assert time.monotonic() < until_s, group
                message = consumer.poll(0.2)
                error = None if message is None else message.error()
                if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                    return error
        finally:
            consumer.close()
        return None

    def transactions(self) -> Outcomes:
        """Open a transaction under each id."""
        found: Outcomes = {}
        for name in self.ids:
            producer = make_producer(self.kafka, {"transactional.id": name})
            try:
                producer.init_transactions(PATIENCE_S)
                found["WRITE", "transactional-id", name] = None
            except KafkaException as error:
                found["WRITE", "transactional-id", name] = error.args[0]
        return found

    def change_rights(self) -> KafkaError | None:
        """Try to give oneself all rights."""
        everything = AclBinding(
            ResourceType.TOPIC, "*", ResourcePatternType.LITERAL, "User:*", "*", AclOperation.ALL,
            AclPermissionType.ALLOW,
        )  # fmt: skip
        admin = make_admin(self.kafka, 30_000)
        return error_of(admin.create_acls([everything]))


def error_of(futures: dict[Any, Any]) -> KafkaError | None:
    [future] = futures.values()
    try:
        future.result(PATIENCE_S)
    except KafkaException as error:
        return error.args[0] if error.args[0].code() not in DONE else None
    return None


@pytest.mark.long
def test_each_cell_of_the_table(secured: SecuredBroker, unique: str) -> None:
    replays = f"{unique}.replay"
    secured.create_topics(unique)
    secured.create_topics(replays)
    topics = (*(topic.name(unique) for topic in TOPICS), f"{replays}.frames")
    groups = (WORKERS, WATCH, WATCH_STATE, RETRIES, READER, unused_group())
    ids = (retry_id(unique), unique)
    producer = make_producer(secured.settings(unique), {})
    for name in topics:
        producer.produce(name, b"x", b"k", partition=0)
    assert producer.flush(PATIENCE_S) == 0
    users = {}
    for role in ROLES.values():
        name = f"{unique}-{role.name}"
        secured.add_user(name, PASSWORD)
        users[name] = User(secured.settings(unique, secured.lines_of(name, PASSWORD)), role, topics, groups, ids)
    applied = apply_acls(
        secured.settings(unique), Principals({user.role.name: (name,) for name, user in users.items()})
    )
    assert applied.created
    with ThreadPoolExecutor(len(users)) as pool:
        outcomes = dict(zip(users, pool.map(User.cells, users.values()), strict=True))
    wrong, cells = [], 0
    for name, user in users.items():
        for cell, error in outcomes[name].items():
            cells += 1
            refused = isinstance(error, NotAuthorised) or (error is not None and error.code() in REFUSED)
            if refused == user.allowed(cell) or (error is not None and not refused):
                wrong.append((user.role.name, cell, error))
            if refused and cell[1] == "topic":
                told = kafka_error(user.kafka, error, cell[2], cell[0]) if isinstance(error, KafkaError) else error
                line = str(told)
                assert line.startswith(f"the user may not {cell[0]} the topic {cell[2]}; allow "), line
                assert "\n" not in line
    assert not wrong, "\n".join(map(str, wrong))
    assert cells == len(ROLES) * (7 * len(topics) + 2 * len(groups) + len(ids) + 1)
