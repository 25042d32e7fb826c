"""`inspection images sweep`: the store forgets what the topic has forgotten."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from typer.testing import CliRunner

from infra.cli.root import app
from schemas import KafkaSettings
from schemas.errors import BrokerUnavailable, SettingsError
from schemas.image_store import ImageStore

HOUR_US = 3_600_000_000


def sweep(store: Path, *arguments: str):
    return CliRunner().invoke(app, ["images", "sweep", "--image-store", str(store), "--json", *arguments])


@pytest.mark.broker
def test_retention_follows_the_topic_on_the_broker(line: KafkaSettings, tmp_path: Path) -> None:
    store = ImageStore(str(tmp_path))
    now_us = time.time_ns() // 1000
    for hours in (0, 5, 30):
        store.put("s", "c", now_us - hours * HOUR_US, "0" * 64, b"x", "png")
    on_line = ["--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix]
    assert len(json.loads(sweep(tmp_path, *on_line, "--dry-run").stdout)["hours"]) == 1  # the table: 24 h
    admin = AdminClient({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})
    entry = ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, line.frames, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(20)
    assert len(json.loads(sweep(tmp_path, *on_line).stdout)["hours"]) == 2
    assert len(list(tmp_path.rglob("*.png"))) == 1
    missing = sweep(tmp_path, "--bootstrap-servers", line.bootstrap_servers, "--prefix", "nothing")
    assert isinstance(missing.exception, SettingsError)


def test_mistakes_are_errors_of_one_line(tmp_path: Path) -> None:
    assert isinstance(sweep(tmp_path, "--older-than", "soon").exception, SettingsError)
    assert isinstance(sweep(tmp_path, "--bootstrap-servers", "127.0.0.1:9").exception, BrokerUnavailable)
    assert json.loads(sweep(tmp_path, "--older-than", "1h").stdout)["hours"] == []
