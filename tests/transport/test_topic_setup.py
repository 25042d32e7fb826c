"""Topics are created where they are missing, and never altered."""

from __future__ import annotations

import dataclasses
import json

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from infra.cli.setup.topics import app
from schemas.errors import BrokerUnavailable, SettingsError
from schemas.settings import KafkaSettings
from schemas.topics import DECISIONS, FRAMES, TOPICS
from transport.topic_setup import _replication_factor, apply, compare, plan


@pytest.mark.parametrize(("brokers", "wanted"), [(0, 1), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_replication_factor(brokers, wanted):
    assert _replication_factor(brokers) == wanted


@pytest.mark.parametrize(
    ("partitions", "changes", "differing"),
    [
        (6, {}, []),
        (5, {}, ["partitions"]),
        (7, {}, ["partitions"]),
        (6, {"retention.ms": "1"}, ["retention.ms"]),
        (1, {"cleanup.policy": "compact", "retention.bytes": "5"}, ["partitions", "cleanup.policy", "retention.bytes"]),
        (6, {"max.message.bytes": None}, ["max.message.bytes"]),
    ],
    ids=["as wanted", "fewer partitions", "more partitions", "retention", "several", "hidden by the cluster"],
)
def test_compare(partitions, changes, differing):
    state = compare(FRAMES, "p.frames", partitions, {**FRAMES.config, "segment.ms": "1", **changes})
    assert [difference.key for difference in state.differences] == differing
    assert state.status == ("differs" if differing else "ok")


@pytest.mark.parametrize(
    ("copies", "in_sync", "differing"),
    [
        ((1, 1), "1", []),
        ((1, 2), "1", []),
        ((3, 3), "2", []),
        ((3, 3), None, []),
        ((3, 3), "1", ["min.insync.replicas"]),
        ((1, 3), "1", ["replicas", "min.insync.replicas"]),
    ],
    ids=["one broker", "two brokers", "as wanted", "hidden by the cluster", "one in sync", "one copy"],
)
def test_copies_count_on_a_cluster_of_three(copies, in_sync, differing):
    state = compare(FRAMES, "p.frames", 6, {**FRAMES.config, "min.insync.replicas": in_sync}, copies)
    assert [difference.key for difference in state.differences] == differing


def test_no_broker_is_said_in_time():
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:9"):
        plan(KafkaSettings("127.0.0.1:9", "p"), timeout_s=0.5)


def test_impossible_prefix():
    with pytest.raises(SettingsError):
        apply(KafkaSettings("127.0.0.1:9", "no spaces"))


@pytest.mark.broker
def test_apply_creates_what_is_missing_once(broker, unique):
    assert {state.status for state in plan(KafkaSettings(broker.bootstrap_servers, unique))} == {"missing"}
    first = apply(KafkaSettings(broker.bootstrap_servers, unique))
    assert set(first.created) == {topic.name(unique) for topic in TOPICS}
    assert [state.status for state in first.states] == ["ok"] * len(TOPICS)
    assert apply(KafkaSettings(broker.bootstrap_servers, unique)).created == ()


@pytest.mark.broker
def test_apply_completes_a_part(broker, unique):
    apply(KafkaSettings(broker.bootstrap_servers, unique), [FRAMES])
    created = apply(KafkaSettings(broker.bootstrap_servers, unique)).created
    assert set(created) == {topic.name(unique) for topic in TOPICS if topic is not FRAMES}


@pytest.mark.broker
def test_apply_alters_nothing(broker, unique):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    name = DECISIONS.name(unique)
    new = NewTopic(name, num_partitions=2, replication_factor=1, config={"retention.ms": "60000"})
    admin.create_topics([new])[name].result(10)
    state = next(s for s in apply(KafkaSettings(broker.bootstrap_servers, unique)).states if s.name == name)
    present = {d.key: (d.present, d.wanted) for d in state.differences}
    assert present == {
        "partitions": ("2", "6"),
        "retention.ms": ("60000", str(DECISIONS.retention_ms)),
        "max.message.bytes": (present["max.message.bytes"][0], str(DECISIONS.max_message_bytes)),
    }
    again = next(s for s in plan(KafkaSettings(broker.bootstrap_servers, unique)) if s.name == name)
    assert dataclasses.replace(again) == state


@pytest.mark.broker
def test_command_line(broker, unique):
    where = ["--bootstrap-servers", broker.bootstrap_servers, "--prefix", unique]
    run = CliRunner().invoke

    missing = run(app, ["diff", *where])
    assert missing.exit_code == 1
    assert f"{unique}.frames" in missing.stdout

    applied = run(app, ["apply", *where, "--json"])
    assert applied.exit_code == 0, applied.output
    assert len(json.loads(applied.stdout)["created"]) == len(TOPICS)

    shown = run(app, ["show", *where])
    assert shown.exit_code == 0
    assert "ok" in shown.stdout

    same = run(app, ["diff", *where])
    assert same.exit_code == 0
    assert json.loads(run(app, ["diff", *where, "--json"]).stdout)["topics"] == []


@pytest.mark.broker
def test_command_line_reads_the_environment(broker, unique):
    env = {"INSPECTION_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "INSPECTION_PREFIX": unique}
    found = json.loads(CliRunner().invoke(app, ["show", "--json"], env=env).stdout)
    assert {topic["status"] for topic in found["topics"]} == {"missing"}
    assert found["prefix"] == unique
