"""A cluster of three that loses a node under load: killed, frozen, with a full disk, controller or coordinator."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from infra.broker.cluster import ClusterNode, LocalCluster
from tests.support.clusters import await_in_sync, cluster_users, controller, coordinator, leader, start_cluster
from tests.support.faults import FULL, SECURED_FIRST, Workers, await_progress
from tests.support.line_users import LineUsers
from tests.support.small_disks import empty, fill, mount_small_disk, unmount
from transport.clients import make_admin
from transport.topic_setup import plan

pytestmark = [pytest.mark.broker, pytest.mark.faults, pytest.mark.long, pytest.mark.alone]

_FAULT_S = 15 if FULL else 6


@pytest.fixture(scope="module", params=SECURED_FIRST)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    cluster = start_cluster(tmp_path_factory.mktemp("cluster"), is_secured=request.param)
    yield cluster
    cluster.stop()


@pytest.fixture
def users(cluster: LocalCluster, unique: str, tmp_path: Path) -> LineUsers:
    return cluster_users(cluster, unique, tmp_path)


def test_topics_have_three_copies_and_groups_a_topic(cluster: LocalCluster, users: LineUsers) -> None:
    topics = make_admin(cluster.settings).list_topics(timeout=30).topics
    copies = {len(each.replicas) for topic in topics.values() for each in topic.partitions.values()}
    assert copies == {3}
    assert "__consumer_offsets" in topics
    assert {state.status for state in plan(users.admin, timeout_s=60)} == {"ok"}


def _any(cluster: LocalCluster, group: str) -> ClusterNode:
    return next(node for node in cluster.nodes if node is not controller(cluster))


def _controller(cluster: LocalCluster, group: str) -> ClusterNode:
    return controller(cluster)


@pytest.mark.parametrize(
    ("name", "chosen", "fault"),
    [
        ("a node killed", _any, "kill -9"),
        ("a node frozen", _any, "SIGSTOP"),
        ("controller killed", _controller, "kill -9"),
        ("controller frozen", _controller, "SIGSTOP"),
        ("group coordinator killed", coordinator, "kill -9"),
    ],
)
def test_one_node(
    cluster: LocalCluster, users: LineUsers, under_load: Callable[..., AbstractContextManager[Workers]],
    name: str, chosen: Callable[[LocalCluster, str], ClusterNode], fault: str,
) -> None:  # fmt: skip
    with under_load(f"cluster of three: {name}", cluster, users) as workers:
        process = chosen(cluster, users.worker.prefix).process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL if fault == "kill -9" else signal.SIGSTOP)
        time.sleep(_FAULT_S)
        await_progress(users.reviewer, tend=workers.revive, timeout_s=90)
        if fault == "SIGSTOP":
            os.kill(process.pid, signal.SIGCONT)


def test_rolling_restart(
    cluster: LocalCluster, users: LineUsers, under_load: Callable[..., AbstractContextManager[Workers]]
) -> None:
    with under_load("cluster of three: rolling restart", cluster, users):
        for node in cluster.nodes:
            assert node.stop(timeout_s=120)
            cluster.start(timeout_s=300)
            await_in_sync(cluster)


@pytest.fixture(params=SECURED_FIRST)
def small_disks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalCluster]:
    """Yield a cluster whose nodes keep their messages on file systems of 96 MiB."""
    folders = [tmp_path / "cluster" / f"node-{number}" / "data" for number in (1, 2, 3)]
    mounted: list[Path] = []
    try:
        for folder in folders:
            mount_small_disk(folder, 96)
            mounted.append(folder)
        cluster = start_cluster(tmp_path / "cluster", is_secured=request.param)
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        for folder in mounted:
            unmount(folder)


def test_the_disk_of_a_node_is_full(
    small_disks: LocalCluster,
    unique: str,
    tmp_path: Path,
    under_load: Callable[..., AbstractContextManager[Workers]],
) -> None:
    """Fill the disk of the node that leads a partition of the frames: it ends, and the others go on."""
    users = cluster_users(small_disks, unique, tmp_path)
    with under_load("cluster of three: the disk of a node is full", small_disks, users) as workers:
        node = leader(small_disks, users.camera.frames)
        fill(node.data_dir / "data")
        until_s = time.monotonic() + 120
        while node.process is not None:
            assert time.monotonic() < until_s, "the node goes on without room"
            time.sleep(0.2)
        await_progress(users.reviewer, tend=workers.revive, timeout_s=90)
        time.sleep(_FAULT_S)
        empty(node.data_dir / "data")
