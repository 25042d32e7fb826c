"""Cluster of three brokers on this machine: started, shown, stopped and started again by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from infra.broker.cluster import LocalCluster, find_plan
from infra.broker.errors import BrokerError
from infra.cli.root import app
from schemas import KafkaSettings
from schemas.topics import TOPICS
from transport.clients import client_config
from transport.topic_setup import apply, plan


def broker(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["broker", *arguments])


def test_a_folder_has_one_broker_or_a_cluster(tmp_path: Path) -> None:
    single, cluster = tmp_path / "single", tmp_path / "cluster"
    (single / "data").mkdir(parents=True)
    with pytest.raises(BrokerError, match="single broker"):
        LocalCluster(single, 0).start()
    cluster.mkdir()
    (cluster / "cluster.json").write_text('{"cluster_id": "x", "ports": [1, 2, 3], "controller_ports": [4, 5, 6]}')
    (cluster / "cluster.json").chmod(0o600)
    refused = broker("start", "--nodes", "1", "--data-dir", str(cluster))
    assert isinstance(refused.exception, BrokerError)
    assert "cluster of 3" in str(refused.exception)
    status = broker("status", "--data-dir", str(cluster))
    assert status.exit_code == 1
    assert status.output.count("does not run") == 3


def test_an_unreadable_plan_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"ports": 3}')
    with pytest.raises(BrokerError, match="cannot be read"):
        find_plan(tmp_path)


@pytest.mark.broker
@pytest.mark.long
@pytest.mark.parametrize("options", [[], ["--secure"]], ids=["open", "secure"])
def test_start_status_stop_and_start_again(tmp_path: Path, options: list[str]) -> None:
    folder = tmp_path / "cluster"
    cluster = LocalCluster(folder)
    try:
        started = broker("start", "--nodes", "3", "--port", "0", "--data-dir", str(folder), "--json", *options)
        assert started.exit_code == 0, started.exception
        servers = json.loads(started.stdout)["bootstrap_servers"]
        kafka = _settings(folder, servers)
        assert len(apply(kafka, timeout_s=60).created) == len(TOPICS)
        assert {state.status for state in plan(kafka, timeout_s=60)} == {"ok"}
        topics = AdminClient(client_config(kafka)).list_topics(timeout=30).topics
        assert "__consumer_offsets" in topics
        assert {len(each.replicas) for topic in topics.values() for each in topic.partitions.values()} == {3}
        assert len(servers.split(",")) == 3
        assert broker("status", "--data-dir", str(folder)).output.count(" answers at ") == 3
        cluster.nodes[1].kill()
        status = broker("status", "--data-dir", str(folder))
        assert (status.exit_code, status.output.count(" answers at ")) == (1, 2)
        again = broker("start", "--data-dir", str(folder), "--json")
        assert json.loads(again.stdout)["bootstrap_servers"] == servers
        assert broker("stop", "--data-dir", str(folder)).output == "stopped\n"
        assert not any(node.process for node in cluster.nodes)
        last = broker("start", "--data-dir", str(folder), "--json")
        assert json.loads(last.stdout)["bootstrap_servers"] == servers
        kafka = _settings(folder, LocalCluster(folder).bootstrap_servers.replace("localhost", "127.0.0.1"))
        assert {state.status for state in plan(kafka, timeout_s=60)} == {"ok"}
    finally:
        LocalCluster(folder).stop()


def _settings(folder: Path, servers: str) -> KafkaSettings:
    from infra.broker.secured_start import find_security

    security = find_security(folder)
    if security is None:
        return KafkaSettings(servers)
    return KafkaSettings(servers.replace("127.0.0.1", "localhost"), client=security.client("inspection"))
