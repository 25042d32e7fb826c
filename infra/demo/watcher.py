"""Reader of decisions and dead letters, for the accounting of a run."""

from __future__ import annotations

import logging
import threading

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from infra.demo.counts import DemoCounts
from schemas import CodecError, DeadLetter, Decision
from schemas.codec import Codec
from schemas.groups import unused_group
from schemas.settings import KafkaSettings
from schemas.topics import MAX_REQUEST_BYTES
from transport.admin import require_topics
from transport.batches import BOUNDED, BatchSkipper
from transport.clients import make_consumer

log = logging.getLogger(__name__)


class AnswerReader:
    """Thread that reads decisions and dead letters from the beginning of their topics into a `DemoCounts`."""

    def __init__(self, kafka: KafkaSettings, counts: DemoCounts) -> None:
        self._kafka = kafka
        self._counts = counts
        self._codec = Codec.from_settings(kafka)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading; the messages that were read so far stay counted."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        topics = [self._kafka.decisions, self._kafka.dead_letters]
        consumer = make_consumer(
            self._kafka,
            {
                **BOUNDED,
                "isolation.level": "read_uncommitted",
                "group.id": unused_group(),  # required, but with assign() no consumer joins the group
                "enable.auto.commit": False,
                "fetch.message.max.bytes": MAX_REQUEST_BYTES,
            },
        )
        partitions = require_topics(self._kafka, topics)
        skipper = BatchSkipper(self._kafka)
        consumer.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t in topics for p in range(partitions[t])])
        try:
            while not self._stop.is_set():
                skipper.skip(consumer)
                for message in consumer.consume(num_messages=200, timeout=0.05):
                    if not skipper.met(message) and message.error() is None:
                        self._count(message.topic() or "", message.value())
        finally:
            skipper.close()
            consumer.close()

    def _count(self, topic: str, value: bytes | None) -> None:
        try:
            if topic == self._kafka.decisions:
                self._counts.decision(self._codec.decode(value, Decision))
            else:
                self._counts.dead_letter(self._codec.decode(value, DeadLetter, max_bytes=MAX_REQUEST_BYTES))
        except CodecError as error:
            log.warning("unreadable message in %s: %s", topic, error)
