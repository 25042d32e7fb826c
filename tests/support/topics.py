"""Topics on the broker: their configuration and their messages."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from schemas import Decision, KafkaSettings
from schemas.codec import decode
from schemas.topics import FRAMES


def set_config(line: KafkaSettings, topic: str, **config: str) -> None:
    """Set the configuration of a topic; ``_`` stands for a dot."""
    admin = AdminClient({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)
    wanted = {entry.name: entry.value for entry in entries}
    asked = ConfigResource(ConfigResource.Type.TOPIC, topic)
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        [future] = admin.describe_configs([asked]).values()
        if wanted.items() <= {name: each.value for name, each in future.result(10).items()}.items():
            break
        time.sleep(0.1)
    time.sleep(1)  # the broker that shows it applies it a moment later


def read_all(line: KafkaSettings, topic: str, wanted: int, timeout_s: float = 30) -> list[bytes]:
    """Read a topic from its start until so many messages are there, and then whether more come."""
    consumer = Consumer(
        {"bootstrap.servers": line.bootstrap_servers, "group.id": "reader", "enable.auto.commit": False, "log_level": 0}
    )
    partitions = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    values: list[bytes] = []
    deadline = time.monotonic() + timeout_s
    while len(values) < wanted and time.monotonic() < deadline:
        values += [m.value() or b"" for m in consumer.consume(500, 0.2) if m.error() is None]
    while more := consumer.consume(500, 0.5):
        values += [m.value() or b"" for m in more if m.error() is None]
    consumer.close()
    return values


def read_decisions(line: KafkaSettings, frames: int, timeout_s: float = 30) -> list[Decision]:
    """Read all decisions once so many frames have one; a frame that two workers have read has two."""
    deadline_s = time.monotonic() + timeout_s
    wanted = frames
    while True:
        found = [decode(value, Decision) for value in read_all(line, line.decisions, wanted, 5)]
        wanted = len(found) + 1
        if len({each.frame_id for each in found}) >= frames or time.monotonic() > deadline_s:
            return found


def committed(line: KafkaSettings) -> int:
    """Sum of the group's committed offsets: the frames it will not read again."""
    consumer = Consumer({"bootstrap.servers": line.bootstrap_servers, "group.id": line.prefix, "log_level": 0})
    wanted = [TopicPartition(line.frames, p) for p in range(FRAMES.partitions)]
    offsets = consumer.committed(wanted, timeout=10)
    consumer.close()
    return sum(max(0, found.offset) for found in offsets)
