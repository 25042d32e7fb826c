"""Ends of transactions that a reader sees at once."""

from __future__ import annotations

import time

from confluent_kafka import IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas import KafkaSettings
from transport.admin import list_topics


def commit_transaction(producer: Producer, kafka: KafkaSettings, *topics: str) -> None:
    """Commit, and wait until readers of the topics see it."""
    producer.commit_transaction(20)
    await_markers(kafka, *topics)


def abort_transaction(producer: Producer, kafka: KafkaSettings, *topics: str) -> None:
    """Abort, and wait until readers of the topics see it."""
    producer.abort_transaction(20)
    await_markers(kafka, *topics)


def await_markers(kafka: KafkaSettings, *topics: str) -> None:
    """Wait until no transaction is open in the topics.

    The coordinator answers before it writes the markers into the partitions, so the last stable offset moves a moment
    after the commit or abort has returned.
    """
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    counts = list_topics(kafka)
    partitions = [TopicPartition(topic, number) for topic in topics for number in range(counts[topic])]
    until_s = time.monotonic() + 20
    while True:
        try:
            stable = _ends(admin, partitions, IsolationLevel.READ_COMMITTED)
            if stable == _ends(admin, partitions, IsolationLevel.READ_UNCOMMITTED):
                return
        except KafkaException:  # a new topic has partitions without a leader for a moment
            if time.monotonic() > until_s:
                raise
        assert time.monotonic() < until_s, "a transaction is still open"
        time.sleep(0.02)


def _ends(admin: AdminClient, partitions: list[TopicPartition], isolation: IsolationLevel) -> list[int]:
    latest = {partition: OffsetSpec.latest() for partition in partitions}
    found = admin.list_offsets(latest, isolation_level=isolation, request_timeout=20)
    return [found[partition].result(20).offset for partition in partitions]
