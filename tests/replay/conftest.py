"""A line that has decided: real images through a real worker on the real broker."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.broker import LocalBroker
from infra.demo.processes import WorkerProcess
from models.datasets.elpv import load_cells
from schemas import KafkaSettings
from schemas.codec import encode
from schemas.topics import TOPICS
from tests.support.decided_lines import CAMERAS, FRAMES, Decided, make_frame
from transport.range_reader import read_topic


@pytest.fixture(scope="session")
def decided(broker: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Decided:
    """60 frames of three cameras, among them ones that cannot be inspected, each with its decision."""
    kafka = KafkaSettings(broker.bootstrap_servers, "decidedline")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    wanted = [NewTopic(each.name(kafka.prefix), each.partitions, 1, config=each.config) for each in TOPICS]
    for created in admin.create_topics(wanted).values():
        created.result(20)
    images = [cell.path.read_bytes() for cell in load_cells()[:: 2600 // FRAMES]][:FRAMES]
    values = []
    for sequence, image in enumerate(images):
        changes: dict[str, object] = {"deadline_ms": 60_000} if sequence % 5 else {}
        if sequence == 7:
            changes["sha256"] = "00" * 32
        elif sequence == 8:
            image = b"no image at all"
        elif sequence == 9:
            changes["attributes"] = {f"k{number}": "x" * 10_000 for number in range(150)}
        elif sequence == 10:
            changes["deadline_ms"] = 0  # shed: the deadline is its capture
            changes["captured_at_us"] = time.time_ns() // 1000 - 10_000_000
        values.append((f"press/{CAMERAS[sequence % 3]}", encode(make_frame(sequence, image, **changes))))
    values[20:20] = [("press/top", b"garbage")]
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "partitioner": "murmur2_random", "message.max.bytes": 4_000_000}
    )
    for key, value in values:
        producer.produce(kafka.frames, value, key)
    assert producer.flush(30) == 0
    worker = WorkerProcess(kafka, model=None, group="decidedline", log=Path(tmp_path_factory.mktemp("log")) / "worker")
    worker.await_ready()
    until = time.monotonic() + 60
    while len(list(read_topic(kafka, kafka.decisions))) < FRAMES:
        assert time.monotonic() < until
        time.sleep(0.3)
    worker.stop()
    return Decided(kafka, FRAMES, 1)
