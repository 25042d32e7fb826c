"""Decisions and labels on a line, and the commands that read them."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from infra.cli.root import app
from schemas import Action, Decision, KafkaSettings
from schemas.codec import encode
from tests.support.past import an_hour_ago_us
from tests.support.quality_records import make_decision

EPOCH_US = an_hour_ago_us()


def run(kafka: KafkaSettings, command: str, *arguments: str) -> Result:
    options = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
    return CliRunner().invoke(app, [command, *options, *arguments])


def publish(kafka: KafkaSettings, topic: str, records: list[Any]) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for record in records:
        value = record if isinstance(record, bytes) else encode(record)
        at_us = record.captured_at_us if isinstance(record, Decision) else EPOCH_US
        producer.produce(topic, value, b"s/c", timestamp=at_us // 1000)
    assert producer.flush(20) == 0


def decision(number: int, action: Action = Action.ACCEPT, **changes: Any) -> Decision:
    at_us = EPOCH_US + number * 1_000_000
    return make_decision(number, action, **{"captured_at_us": at_us, "decided_at_us": at_us + 1, **changes})
