"""Archives, made without a broker or from one, and messages to put into them."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from replay.archive.batch import ArchiveBatch
from replay.archive.commits import Commit
from replay.archive.sink import ArchiveSink, SinkOptions, SinkReport
from replay.archive.store import ArchiveStore
from schemas import Frame, KafkaSettings
from tests.support.past import EPOCH_US, make_frame
from transport.stored_message import MessagePosition, StoredMessage

TOPIC = "line7.frames"
TOPIC_ID = "kLm3"


def message(offset: int, frame: Frame | None = None, **changes: object) -> StoredMessage[Frame]:
    """A frame as it lies in its topic, ten seconds apart."""
    found = StoredMessage(
        MessagePosition(TOPIC, 0, offset), EPOCH_US // 1000 * 1000 + offset * 10_000_000, b"press/top", {"a": b"\x00"},
        frame or make_frame(offset, f"press/c{offset % 3}", image=b"x" * 20_000),
    )  # fmt: skip
    return dataclasses.replace(found, **changes)


def commit(
    store: ArchiveStore,
    messages: Iterable[StoredMessage[Frame]],
    begin: int,
    end: int,
    *,
    partition: int = 0,
    **changes: object,
) -> Commit:
    """Write a commit of these messages and its files."""
    if not store.is_archive():
        store.make_archive()
    batch = ArchiveBatch(TOPIC, TOPIC_ID, partition, Frame, begin)
    for one in messages:
        batch.add(one, 0)
    batch.settle(end)
    made = dataclasses.replace(batch.write(store), **changes)
    store.write(made.path, made.to_bytes())
    return made


def archive(kafka: KafkaSettings, uri: object, **options: Any) -> SinkReport:
    images = options.pop("image_store", None)
    sink = ArchiveSink(kafka, ArchiveStore(str(uri)), SinkOptions(**options), image_store=images)
    return sink.run_once(threading.Event())


def delete_before(kafka: KafkaSettings, topic: str, partition: int, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    for answer in admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        answer.result(20)
