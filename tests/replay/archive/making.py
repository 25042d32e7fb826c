"""Archives made without a broker, and messages to put into them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from replay.archive.batch import ArchiveBatch
from replay.archive.commits import Commit
from replay.archive.store import ArchiveStore
from schemas import Frame
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
