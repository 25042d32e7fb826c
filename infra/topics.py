"""The topics of a cluster against the table `schemas.topics.TOPICS`: plan, then create what is missing.

Nothing is ever altered: fewer partitions are impossible, more of them break the order by key, and a shorter
retention deletes. Differences are reported, for a person to decide.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaError, KafkaException

# Documented there, yet not re-exported in the way that mypy's strict mode asks for.
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, NewTopic  # type: ignore[attr-defined]

from schemas.errors import BrokerUnavailable, InspectionError
from schemas.topics import TOPICS, Topic, check_prefix

_TIMEOUT_S = 10.0
#: Limits on timestamps, with Kafka's defaults. They are not set when a topic is made: older brokers do not know them. A
#: stricter limit refuses messages when a clock is wrong; ``message.timestamp.type=LogAppendTime`` accepts them all.
_TIMESTAMP_LIMITS_MS = {
    "message.timestamp.after.max.ms": 3_600_000,
    "message.timestamp.before.max.ms": 9_223_372_036_854_775_807,
}
#: Copies of each partition on a cluster of three brokers or more: one may fail while another is being restarted.
_REPLICAS = 3


class TopicsError(InspectionError):
    """The cluster refuses to show or to create topics."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of a topic that is not what the table says."""

    key: str
    present: str
    wanted: str


@dataclass(frozen=True, slots=True)
class TopicState:
    """One topic as the table wants it and as the cluster has it.

    Parameters
    ----------
    name
        Full name, with the prefix.
    status
        ``missing``, ``ok`` or ``differs``.
    partitions
        Those that the topic has; None when it is missing.
    wanted
        Its row of the table.
    differences
        What is not as wanted; ``partitions`` among them.
    """

    name: str
    status: Literal["missing", "ok", "differs"]
    partitions: int | None
    wanted: Topic
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` created, and the state of all topics afterwards."""

    created: tuple[str, ...]
    states: tuple[TopicState, ...]


def compare(topic: Topic, name: str, partitions: int | None, config: dict[str, str | None] | None = None) -> TopicState:
    """Compare a row of the table with what a cluster has.

    Examples
    --------
    >>> from schemas.topics import DECISIONS
    >>> compare(DECISIONS, "inspection.decisions", 3, DECISIONS.config).differences
    (Difference(key='partitions', present='3', wanted='6'),)
    >>> compare(DECISIONS, "inspection.decisions", None).status
    'missing'
    """
    if partitions is None:
        return TopicState(name, "missing", None, topic)
    present = {"partitions": str(partitions), **(config or {})}
    wanted = {"partitions": str(topic.partitions), **topic.config}
    differences = tuple(
        Difference(key, present.get(key) or "", value) for key, value in wanted.items() if present.get(key) != value
    )
    differences += _time_differences(present)
    return TopicState(name, "differs" if differences else "ok", partitions, topic, differences)


def _time_differences(present: Mapping[str, str | None]) -> tuple[Difference, ...]:
    """Return limits on timestamps that are stricter than Kafka's own; they do not apply if the broker sets the time."""
    if present.get("message.timestamp.type") == "LogAppendTime":
        return ()
    return tuple(
        Difference(key, value, str(wanted_ms))
        for key, wanted_ms in _TIMESTAMP_LIMITS_MS.items()
        if (value := present.get(key)) is not None and value.isdigit() and int(value) < wanted_ms
    )


def plan(
    bootstrap_servers: str, prefix: str, topics: Iterable[Topic] = TOPICS, timeout_s: float = _TIMEOUT_S
) -> list[TopicState]:
    """State of each topic of the table; changes nothing.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    TopicsError
        If the cluster does not let us look.
    """
    return _plan(_admin(bootstrap_servers), bootstrap_servers, check_prefix(prefix), list(topics), timeout_s)


def apply(
    bootstrap_servers: str, prefix: str, topics: Iterable[Topic] = TOPICS, timeout_s: float = _TIMEOUT_S
) -> Applied:
    """Create the topics that are missing and wait until the cluster shows them; leave the others alone.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    TopicsError
        If the cluster refuses to create a topic, or does not show it in time.
    """
    admin, table = _admin(bootstrap_servers), list(topics)
    states = _plan(admin, bootstrap_servers, check_prefix(prefix), table, timeout_s)
    missing = [state for state in states if state.status == "missing"]
    if not missing:
        return Applied((), tuple(states))
    replicas = _replication_factor(len(_metadata(admin, bootstrap_servers, timeout_s).brokers))
    new = [
        NewTopic(
            state.name,
            num_partitions=state.wanted.partitions,
            replication_factor=replicas,
            config=dict(state.wanted.config),
        )
        for state in missing
    ]
    created = []
    for name, future in admin.create_topics(new, operation_timeout=timeout_s, request_timeout=timeout_s).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            # Somebody else was faster: that is what was wanted.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicsError(f"{name} could not be created: {error.args[0].str()}") from error
    deadline = time.monotonic() + timeout_s
    while True:
        # The controller has them; the broker that we ask learns of it a moment later.
        states = _plan(admin, bootstrap_servers, prefix, table, timeout_s)
        if all(state.status != "missing" for state in states):
            return Applied(tuple(created), tuple(states))
        if time.monotonic() > deadline:
            late = ", ".join(state.name for state in states if state.status == "missing")
            raise TopicsError(f"created, but not shown by {bootstrap_servers} after {timeout_s:.0f} s: {late}")
        time.sleep(0.05)


def _replication_factor(brokers: int) -> int:
    return min(_REPLICAS, max(1, brokers))


def _admin(bootstrap_servers: str) -> AdminClient:
    # log_level 0: refused connections become one line of ours, not many of librdkafka's.
    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0, "socket.timeout.ms": 9000})


def _metadata(admin: AdminClient, bootstrap_servers: str, timeout_s: float) -> ClusterMetadata:
    try:
        return admin.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise BrokerUnavailable(bootstrap_servers, error.args[0].str()) from error


def _plan(
    admin: AdminClient, bootstrap_servers: str, prefix: str, topics: list[Topic], timeout_s: float
) -> list[TopicState]:
    present = _metadata(admin, bootstrap_servers, timeout_s).topics
    names = {topic.name(prefix): topic for topic in topics}
    configs = _configs(admin, [name for name in names if name in present], timeout_s)
    return [
        compare(topic, name, len(present[name].partitions) if name in present else None, configs.get(name))
        for name, topic in names.items()
    ]


def _configs(admin: AdminClient, names: list[str], timeout_s: float) -> dict[str, dict[str, str | None]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    found = {}
    for resource, future in admin.describe_configs(resources, request_timeout=timeout_s).items():
        try:
            found[resource.name] = {key: entry.value for key, entry in future.result().items()}
        except KafkaException as error:
            raise TopicsError(f"the settings of {resource.name} cannot be read: {error.args[0].str()}") from error
    return found
