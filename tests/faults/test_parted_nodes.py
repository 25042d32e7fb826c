"""A cluster of three whose network parts one node from the others, while clients reach all of them.

The parted node does not know that it is dead to the others: it goes on to answer clients, and still counts itself as
leader of its partitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from infra.broker.cluster import ClusterNode, LocalCluster
from schemas import KafkaSettings
from tests.support.clusters import controller, coordinator, leader
from tests.support.faults import FULL, Workers, await_progress
from tests.support.parted_clusters import PartableCluster
from transport.topic_setup import apply

pytestmark = [pytest.mark.broker, pytest.mark.faults, pytest.mark.long, pytest.mark.alone]

_FAULT_S = 60 if FULL else 20


@pytest.fixture(scope="module")
def partable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartableCluster]:
    cluster = PartableCluster(tmp_path_factory.mktemp("parted"))
    try:
        cluster.start(timeout_s=300)
        yield cluster
    finally:
        cluster.close()


def _leader(cluster: LocalCluster, line: KafkaSettings) -> ClusterNode:
    return leader(cluster, line.frames)


def _controller(cluster: LocalCluster, line: KafkaSettings) -> ClusterNode:
    return controller(cluster)


def _coordinator(cluster: LocalCluster, line: KafkaSettings) -> ClusterNode:
    return coordinator(cluster, line.prefix)


@pytest.mark.parametrize(
    "chosen", [_leader, _controller, _coordinator], ids=["leader of frames", "controller", "group coordinator"]
)
def test_one_node_is_parted(
    partable: PartableCluster, unique: str, under_load: Callable[..., AbstractContextManager[Workers]],
    chosen: Callable[[LocalCluster, KafkaSettings], ClusterNode], request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    line = KafkaSettings(partable.bootstrap_servers, unique)
    apply(line, timeout_s=60)
    with under_load(f"cluster of three: network parts the {request.node.callspec.id}", partable, line) as workers:
        node = chosen(partable, line)
        try:
            partable.part(node)
            time.sleep(_FAULT_S)
            await_progress(line, tend=workers.revive, timeout_s=240)  # a watchdog of a worker takes a minute
        finally:
            partable.join(node)
