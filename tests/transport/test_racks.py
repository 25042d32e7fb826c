"""Readers that take the copy of a partition in their own rack, on a real cluster of three."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from schemas.connection.load import CONFIG_VARIABLE, load_client_config
from schemas.groups import READER
from tests.support.clusters import await_in_sync, leader, start_cluster
from transport.clients import make_consumer
from transport.producer import make_producer
from transport.topic_setup import apply

PATIENCE_S = 60.0


@pytest.mark.broker
@pytest.mark.long
def test_a_reader_takes_the_copy_of_its_rack(tmp_path: Path, unique: str) -> None:
    cluster = start_cluster(tmp_path / "cluster")
    try:
        kafka = replace(cluster.settings, prefix=unique)
        apply(kafka, timeout_s=60)
        await_in_sync(cluster)
        topic = kafka.decisions
        led_by = cluster.nodes.index(leader(cluster, topic)) + 1
        own = led_by % 3 + 1
        file = tmp_path / "client.properties"
        file.write_text(f"client.rack=rack-{own}\n")
        client = load_client_config({CONFIG_VARIABLE: str(file)})
        in_rack = replace(kafka, client=tuple(client.items()))
        read_from: list[int] = []

        def note(text: str) -> None:
            partitions: dict[str, Any] = json.loads(text)["topics"].get(topic, {}).get("partitions", {})
            read_from.append(partitions.get("0", {}).get("broker", -1))

        consumer = make_consumer(in_rack, {"group.id": READER, "statistics.interval.ms": 200, "stats_cb": note})
        consumer.assign([TopicPartition(topic, 0, 0)])
        producer = make_producer(in_rack, {})  # a writer ignores its rack
        found, number, until_s = 0, 0, time.monotonic() + PATIENCE_S
        while found < 50 or read_from[-1:] != [own]:
            assert time.monotonic() < until_s, (found, own, read_from)
            if number < 50:
                producer.produce(topic, b"%d" % number, partition=0)
                number += 1
            producer.poll(0)
            message = consumer.poll(0.1)
            found += message is not None and message.error() is None
        consumer.close()
        assert producer.flush(PATIENCE_S) == 0
        assert led_by != own
    finally:
        cluster.stop()
