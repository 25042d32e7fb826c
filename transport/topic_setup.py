"""Comparison of a cluster's topics with the table `schemas.topics.TOPICS`, and creation of missing topics.

Existing topics are never changed: fewer partitions are impossible, more partitions break the order by key, and a
shorter retention deletes messages. Differences are reported, for a person to decide.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaError, KafkaException

# These names are documented in this module, but not re-exported in the way that mypy's strict mode requires.
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewTopic,
    TopicMetadata,
)

from schemas.errors import InspectionError, NotAuthorised
from schemas.settings import KafkaSettings
from schemas.topics import TOPICS, Topic
from transport.broker_cause import FirstError
from transport.clients import make_admin
from transport.cluster_metadata import fetch_metadata
from transport.offsets_topic import ensure_offsets_topic
from transport.topic_spread import await_on_all_brokers

_TIMEOUT_S = 10.0
#: Limits on timestamps, with Kafka's defaults. They are not set on new topics: older brokers do not know them. With a
#: stricter limit the broker refuses messages if a clock is wrong. ``message.timestamp.type=LogAppendTime`` accepts all.
_TIMESTAMP_LIMITS_MS = {
    "message.timestamp.after.max.ms": 3_600_000,
    "message.timestamp.before.max.ms": 9_223_372_036_854_775_807,
}
#: Copies of each partition on a cluster of three brokers or more: one broker may fail while another one restarts.
_REPLICAS = 3
#: Setting of a topic with these copies: a message is acknowledged when two brokers have it.
_IN_SYNC = {"min.insync.replicas": "2"}


class TopicsError(InspectionError):
    """Error: the cluster refuses to show or to create topics."""


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """Setting of a topic that differs from the table."""

    key: str
    present: str
    wanted: str


@dataclass(frozen=True, slots=True)
class TopicState:
    """Topic as the table wants it and as the cluster has it.

    Parameters
    ----------
    name
        Full name, with the prefix.
    status
        ``missing``, ``ok`` or ``differs``.
    partitions
        Number of partitions of the topic; None if the topic is missing.
    wanted
        Row of the table for this topic.
    differences
        Settings that are not as wanted; the number of ``partitions`` can be one of them.
    """

    name: str
    status: Literal["missing", "ok", "differs"]
    partitions: int | None
    wanted: Topic
    differences: tuple[TopicDifference, ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """Names of the topics that `apply` created, and the state of all topics afterwards."""

    created: tuple[str, ...]
    states: tuple[TopicState, ...]


def compare(
    topic: Topic,
    name: str,
    partitions: int | None,
    config: dict[str, str | None] | None = None,
    copies: tuple[int, int] = (1, 1),
) -> TopicState:
    """Compare a row of the table with the topic on a cluster.

    ``copies`` are the copies of its partitions, and those that the cluster can have.

    Examples
    --------
    >>> from schemas.topics import DECISIONS
    >>> compare(DECISIONS, "inspection.decisions", 3, DECISIONS.config).differences
    (TopicDifference(key='partitions', present='3', wanted='6'),)
    >>> compare(DECISIONS, "inspection.decisions", None).status
    'missing'
    """
    if partitions is None:
        return TopicState(name, "missing", None, topic)
    present = {"partitions": str(partitions), **(config or {})}
    wanted = {"partitions": str(topic.partitions), **topic.config}
    differences = tuple(
        TopicDifference(key, present.get(key) or "", value)
        for key, value in wanted.items()
        if present.get(key) != value
    )
    differences += _time_differences(present) + _copy_differences(present, *copies)
    return TopicState(name, "differs" if differences else "ok", partitions, topic, differences)


def _time_differences(present: Mapping[str, str | None]) -> tuple[TopicDifference, ...]:
    """Return limits on timestamps that are stricter than Kafka's own; none if the broker itself sets the timestamps."""
    if present.get("message.timestamp.type") == "LogAppendTime":
        return ()
    return tuple(
        TopicDifference(key, value, str(wanted_ms))
        for key, wanted_ms in _TIMESTAMP_LIMITS_MS.items()
        if (value := present.get(key)) is not None and value.isdigit() and int(value) < wanted_ms
    )


def _copy_differences(present: Mapping[str, str | None], copies: int, possible: int) -> tuple[TopicDifference, ...]:
    """Return what a failure of a broker would cost more than it must, on a cluster of three brokers or more."""
    if possible < _REPLICAS:
        return ()
    found = [] if copies >= possible else [TopicDifference("replicas", str(copies), str(possible))]
    for key, wanted in _IN_SYNC.items():
        value = present.get(key) or wanted  # hidden by the cluster
        if value.isdigit() and int(value) < int(wanted):
            found.append(TopicDifference(key, value, wanted))
    return tuple(found)


def plan(kafka: KafkaSettings, topics: Iterable[Topic] = TOPICS, timeout_s: float = _TIMEOUT_S) -> list[TopicState]:
    """Return the state of each topic of the table; change nothing.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    NotAuthorised
        If the user may not read the settings of a topic.
    TopicsError
        If the cluster does not show the settings of a topic.
    """
    first = FirstError()
    admin = _admin(kafka, first)
    return _plan(admin, fetch_metadata(kafka, admin, first, timeout_s), kafka, list(topics), timeout_s)


def apply(kafka: KafkaSettings, topics: Iterable[Topic] = TOPICS, timeout_s: float = _TIMEOUT_S) -> Applied:
    """Create the missing topics and wait until the cluster shows them; leave the other topics as they are.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    NotAuthorised
        If the user may not create a topic, or may not read its settings.
    TopicsError
        If the cluster refuses to create a topic, or does not show it in time.
    """
    first, table = FirstError(), list(topics)
    admin = _admin(kafka, first)
    cluster = fetch_metadata(kafka, admin, first, timeout_s)
    replicas = _replication_factor(len(cluster.brokers))
    if replicas >= _REPLICAS:
        ensure_offsets_topic(admin, cluster, timeout_s)
    states = _plan(admin, cluster, kafka, table, timeout_s)
    missing = [state for state in states if state.status == "missing"]
    if not missing:
        return Applied((), tuple(states))
    new = [
        NewTopic(
            state.name,
            num_partitions=state.wanted.partitions,
            replication_factor=replicas,
            config={**state.wanted.config, **(_IN_SYNC if replicas >= _REPLICAS else {})},
        )
        for state in missing
    ]
    created = []
    for name, future in admin.create_topics(new, operation_timeout=timeout_s, request_timeout=timeout_s).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
                raise NotAuthorised("topic", name, "CREATE") from error
            # Another process has created the topic in the meantime, which is as good.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicsError(f"{name} could not be created: {error.args[0].str()}") from error
    deadline = time.monotonic() + timeout_s
    while True:
        # The controller has the topics already; the broker that we ask learns of them a moment later.
        cluster = fetch_metadata(kafka, admin, first, timeout_s)
        states = _plan(admin, cluster, kafka, table, timeout_s)
        if all(state.status != "missing" for state in states):
            names = [state.name for state in states]
            if slow := await_on_all_brokers(kafka, cluster, names, max(0.0, deadline - time.monotonic())):
                raise TopicsError(f"created, but not shown by {', '.join(slow)} after {timeout_s:.0f} s")
            return Applied(tuple(created), tuple(states))
        if time.monotonic() > deadline:
            late = ", ".join(state.name for state in states if state.status == "missing")
            raise TopicsError(f"created, but not shown by {kafka.bootstrap_servers} after {timeout_s:.0f} s: {late}")
        time.sleep(0.05)


def _replication_factor(brokers: int) -> int:
    return min(_REPLICAS, max(1, brokers))


def _admin(kafka: KafkaSettings, first: FirstError) -> AdminClient:
    return make_admin(kafka, 9_000, first)


def _plan(
    admin: AdminClient, cluster: ClusterMetadata, kafka: KafkaSettings, topics: list[Topic], timeout_s: float
) -> list[TopicState]:
    present, brokers = cluster.topics, len(cluster.brokers)
    names = {topic.name(kafka.prefix): topic for topic in topics}
    configs = _configs(admin, [name for name in names if name in present], timeout_s)
    return [
        compare(topic, name, len(present[name].partitions), configs.get(name), copies=_copies(present[name], brokers))
        if name in present
        else compare(topic, name, None)
        for name, topic in names.items()
    ]


def _copies(topic: TopicMetadata, brokers: int) -> tuple[int, int]:
    """Return the fewest copies of a partition, and the copies that the cluster can have."""
    fewest = min((len(partition.replicas) for partition in topic.partitions.values()), default=0)
    return fewest, _replication_factor(brokers)


def _configs(admin: AdminClient, names: list[str], timeout_s: float) -> dict[str, dict[str, str | None]]:
    if not names:
        return {}
    found: dict[str, dict[str, str | None]] = {}
    deadline = time.monotonic() + timeout_s
    while left := [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names if name not in found]:
        for resource, future in admin.describe_configs(left, request_timeout=timeout_s).items():
            try:
                found[resource.name] = {key: entry.value for key, entry in future.result().items()}
            except KafkaException as error:
                if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    raise NotAuthorised("topic", resource.name, "DESCRIBE_CONFIGS") from error
                # One broker has named the topic, and another one, which is asked for the settings, learns of it later.
                is_new = error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
                if not is_new or time.monotonic() > deadline:
                    reason = error.args[0].str()
                    raise TopicsError(f"the settings of {resource.name} cannot be read: {reason}") from error
        if len(found) < len(names):
            time.sleep(0.05)
    return found
