"""A gateway on a cluster of three brokers that loses one while requests run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.broker.cluster import LocalCluster
from schemas import KafkaSettings
from tests.support.clusters import await_in_sync, leader, start_cluster
from tests.support.faults import Workers
from tests.support.gateway_load import Requests, check_books
from tests.support.gateways import running_gateway, wait_until
from transport.topic_setup import apply

pytestmark = [pytest.mark.broker, pytest.mark.faults, pytest.mark.long, pytest.mark.alone]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    cluster = start_cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.mark.parametrize(
    ("number", "suffix"),
    [(signal.SIGKILL, "frames"), (signal.SIGSTOP, "frames"), (signal.SIGSTOP, "http-keys")],
    ids=["frames, killed", "frames, frozen", "keys, frozen"],
)
def test_the_leader_of_a_topic_is_lost(
    cluster: LocalCluster, unique: str, tmp_path: Path, number: signal.Signals, suffix: str
) -> None:
    kafka = KafkaSettings(cluster.bootstrap_servers, unique)
    apply(kafka, timeout_s=60)
    workers = Workers(kafka, tmp_path)
    try:
        workers.start().await_ready(120)
        # Several cameras: their frames go to partitions of all nodes.
        with running_gateway(kafka, cameras=6) as gateway:
            requests = Requests(lambda: gateway.url)
            try:
                requests.await_successes(20)
                process = leader(cluster, f"{unique}.{suffix}").process
                assert process is not None
                os.kill(process.pid, number)
                before = requests.statuses()[200]

                def goes_on() -> bool:
                    workers.revive()
                    return requests.statuses()[200] >= before + 60

                wait_until(goes_on)  # with two nodes of three
                if number == signal.SIGSTOP:
                    os.kill(process.pid, signal.SIGCONT)
                cluster.start(timeout_s=300)
                await_in_sync(cluster)
                requests.await_successes(20)
                requests.end()
                assert not requests.statuses()[0]  # no connection broke: each request had an answer or an error
                requests.check_keys()
            finally:
                requests.stop()
        check_books(kafka)
    finally:
        workers.close()
