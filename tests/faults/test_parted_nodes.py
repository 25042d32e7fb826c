"""A cluster of three whose network parts one node from the others, while clients reach all of them.

The parted node does not know that it is dead to the others: it goes on to answer clients, and still counts itself as
leader of its partitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from infra.broker.cluster import ClusterNode, LocalCluster
from tests.support.clusters import cluster_users, controller, coordinator, leader
from tests.support.faults import FULL, SECURED_FIRST, Workers, await_progress
from tests.support.line_users import LineUsers
from tests.support.parted_clusters import PartableCluster

pytestmark = [pytest.mark.broker, pytest.mark.faults, pytest.mark.long, pytest.mark.alone]

_FAULT_S = 60 if FULL else 20


@pytest.fixture(scope="module", params=SECURED_FIRST)
def partable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartableCluster]:
    cluster = PartableCluster(tmp_path_factory.mktemp("parted"), is_secured=request.param)
    try:
        cluster.start(timeout_s=300)
        yield cluster
    finally:
        cluster.close()


def _leader(cluster: LocalCluster, users: LineUsers) -> ClusterNode:
    return leader(cluster, users.camera.frames)


def _controller(cluster: LocalCluster, users: LineUsers) -> ClusterNode:
    return controller(cluster)


def _coordinator(cluster: LocalCluster, users: LineUsers) -> ClusterNode:
    return coordinator(cluster, users.worker.prefix)


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("leader of frames", _leader), ("controller", _controller), ("group coordinator", _coordinator)],
)
def test_one_node_is_parted(
    partable: PartableCluster, unique: str, tmp_path: Path,
    under_load: Callable[..., AbstractContextManager[Workers]],
    name: str, chosen: Callable[[LocalCluster, LineUsers], ClusterNode],
) -> None:  # fmt: skip
    users = cluster_users(partable, unique, tmp_path)
    with under_load(f"cluster of three: network parts the {name}", partable, users) as workers:
        node = chosen(partable, users)
        try:
            partable.part(node)
            time.sleep(_FAULT_S)
            await_progress(users.reviewer, tend=workers.revive, timeout_s=240)  # a watchdog of a worker takes a minute
        finally:
            partable.join(node)
