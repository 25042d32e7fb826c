"""Cluster whose nodes a test may kill and freeze, and the pauses that readers of its decisions notice."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from confluent_kafka import TopicPartition

from infra.broker.cluster import ClusterNode, LocalCluster
from infra.broker.secured_start import make_security
from schemas import KafkaSettings
from schemas.groups import READER
from tests.support.line_users import LineUsers, make_users
from transport.clients import make_admin, make_consumer
from transport.topic_setup import apply

_LEADS = re.compile(r"^(\S+ \S+) .*Completed transition to Leader", re.MULTILINE)


def controller(cluster: LocalCluster) -> ClusterNode:
    """Return the node with the active controller: the one that became leader last, by the logs."""

    def last_time(node: ClusterNode) -> str:
        logs = sorted(node.data_dir.glob("broker.log*"))
        return max((at for log in logs for at in _LEADS.findall(log.read_text())), default="")

    return max((node for node in cluster.nodes if node.process is not None), key=last_time)


def coordinator(cluster: LocalCluster, group: str) -> ClusterNode:
    """Return the node that coordinates a consumer group."""
    admin = make_admin(cluster.settings)  # its requests end with it
    [found] = admin.describe_consumer_groups([group]).values()
    return cluster.nodes[found.result(30).coordinator.id - 1]


def leader(cluster: LocalCluster, topic: str) -> ClusterNode:
    """Return the node that leads the first partition of a topic."""
    admin = make_admin(cluster.settings)
    return cluster.nodes[admin.list_topics(topic, timeout=30).topics[topic].partitions[0].leader - 1]


def await_in_sync(cluster: LocalCluster, timeout_s: float = 120) -> None:
    """Wait until every partition has all its copies in sync."""
    admin = make_admin(cluster.settings)
    until_s = time.monotonic() + timeout_s
    while True:
        partitions = [
            each for topic in admin.list_topics(timeout=20).topics.values() for each in topic.partitions.values()
        ]
        if all(len(each.isrs) == len(each.replicas) for each in partitions):
            return
        assert time.monotonic() < until_s, "the copies do not catch up"
        time.sleep(0.2)


class Arrivals:
    """Reader of decisions that notes when each one comes."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._consumer = make_consumer(kafka, {"group.id": READER, "log_level": 0})
        partitions = self._consumer.list_topics(kafka.decisions, timeout=30).topics[kafka.decisions].partitions
        self._consumer.assign([TopicPartition(kafka.decisions, number, 0) for number in partitions])
        self._stop = threading.Event()
        self._at_s: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.05)
            if message is not None and message.error() is None:
                self._at_s.append(time.monotonic())

    def longest_gap_s(self, since_s: float) -> float:
        """Return the longest time without a decision since a moment (monotonic)."""
        at_s = [since_s, *(each for each in self._at_s if each > since_s)]
        return max((after - before for before, after in pairwise(at_s)), default=0.0)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()


def cluster_users(cluster: LocalCluster, prefix: str, folder: Path) -> LineUsers:
    """Create the topics of a line, and return its users: one for each role if the cluster is secured."""
    admin = replace(cluster.settings, prefix=prefix)
    apply(admin, timeout_s=60)
    return make_users(admin, folder) if admin.client else LineUsers.same(admin)


def start_cluster(directory: Path, *, is_secured: bool = False) -> LocalCluster:
    """Start a cluster of three; with ``is_secured`` it has TLS and passwords."""
    security = make_security(directory, tls=True) if is_secured else None
    cluster = LocalCluster(directory, 0, ends_with_us=True, security=security)
    cluster.start(timeout_s=300)
    return cluster
