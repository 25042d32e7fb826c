"""Frames and decisions on a line, and the audit of it."""

from __future__ import annotations

import time
from dataclasses import replace

from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from infra.cli.root import app
from schemas import Action, Decision, Encoding, Frame, KafkaSettings, ResultState, Verdict
from schemas.ids import decision_id, frame_id


def frame(sequence: int, camera: str = "c", started: int = 1) -> Frame:
    return Frame(
        frame_id=frame_id("s", camera, started, sequence), line="l", station="s", camera_id=camera,
        started_at_us=started, sequence=sequence, captured_at_us=1_000_000 * sequence, encoding=Encoding.PNG, width=1,
        height=1, sha256="aa", image=b"x", deadline_ms=500,
    )  # fmt: skip


def decision(of: Frame, **changes: object) -> Decision:
    made = Decision(
        decision_id=decision_id(of.frame_id, of.sha256, "m", "1"), frame_id=of.frame_id, line="l", station=of.station,
        camera_id=of.camera_id, started_at_us=of.started_at_us, sequence=of.sequence, image_sha256=of.sha256,
        verdict=Verdict.OK, action=Action.ACCEPT, result_state=ResultState.COMPLETED, reason="", model_name="m",
        model_version="1", model_sha256="m", recipe_id="r", recipe_revision="1", captured_at_us=of.captured_at_us,
        received_at_us=0, decided_at_us=0, source_topic="t", source_partition=0, source_offset=of.sequence,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def publish(kafka: KafkaSettings, messages: list[tuple[str, bytes, bytes | None, int]]) -> None:
    """Topic, key, value, timestamp in ms."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for topic, key, value, timestamp in messages:
        producer.produce(topic, value, key, timestamp=timestamp)
    assert producer.flush(20) == 0


def hour_ago_ms() -> int:
    """In whole seconds. Older stamps than a topic's retention go when its cleaner comes by, every five minutes."""
    return (int(time.time()) - 3600) * 1000


def run(kafka: KafkaSettings, *arguments: str) -> Result:
    options = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
    return CliRunner().invoke(app, ["audit", *options, *arguments])
