"""Wait until every broker of a cluster knows new topics: the controller has them first, and tells the brokers.

A program that asks another broker a moment later would find a topic missing.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection

from confluent_kafka import KafkaException
from confluent_kafka.admin import ClusterMetadata, TopicMetadata  # type: ignore[attr-defined]

from schemas.settings import KafkaSettings
from transport.clients import make_admin

_REQUEST_S = 2.0
_PAUSE_S = 0.05


def await_on_all_brokers(
    kafka: KafkaSettings, cluster: ClusterMetadata, names: Collection[str], timeout_s: float
) -> list[str]:
    """Wait until each broker shows the topics with a leader for each partition; return the brokers that do not in time.

    A broker that cannot be reached from here is left out.
    """
    deadline = time.monotonic() + timeout_s
    late = []
    for broker in cluster.brokers.values() if len(cluster.brokers) > 1 else ():
        address = f"{broker.host}:{broker.port}"
        admin = make_admin(dataclasses.replace(kafka, bootstrap_servers=address))
        while True:
            try:
                topics = admin.list_topics(timeout=_REQUEST_S).topics
            except KafkaException:
                break
            if all(name in topics and _has_leaders(topics[name]) for name in names):
                break
            if time.monotonic() > deadline:
                late.append(address)
                break
            time.sleep(_PAUSE_S)
    return late


def _has_leaders(topic: TopicMetadata) -> bool:
    return bool(topic.partitions) and all(partition.leader >= 0 for partition in topic.partitions.values())
