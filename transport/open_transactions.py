"""Partitions that an open transaction holds back from readers of committed messages."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from schemas.settings import KafkaSettings
from transport.clients import make_admin

_TIMEOUT_S = 10.0


def first_open_offsets(kafka: KafkaSettings, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Return the offset at which an open transaction begins, for each partition with an open transaction.

    A reader of committed messages gets no message behind this offset until the transaction ends: at the latest after
    the ``transaction.timeout.ms`` of its writer. Partitions that do not answer are left out.
    """
    admin = make_admin(kafka)
    topic_partitions = [TopicPartition(topic, number) for number in partitions]
    stable = _ends(admin, topic_partitions, IsolationLevel.READ_COMMITTED)
    ends = _ends(admin, topic_partitions, IsolationLevel.READ_UNCOMMITTED)
    return {number: offset for number, offset in sorted(stable.items()) if offset < ends.get(number, offset)}


def open_transaction_line(topic: str, partition: int, offset: int) -> str:
    """Return a line that tells a person of a partition with an open transaction.

    Examples
    --------
    >>> open_transaction_line("inspection.frames", 3, 70)
    'partition 3 of inspection.frames is held back by an open transaction since offset 70; what follows is not read yet'
    """
    return (
        f"partition {partition} of {topic} is held back by an open transaction since offset {offset}; "
        "what follows is not read yet"
    )


def _ends(admin: AdminClient, topic_partitions: list[TopicPartition], level: IsolationLevel) -> dict[int, int]:
    found = {}
    asked = {topic_partition: OffsetSpec.latest() for topic_partition in topic_partitions}  # type: ignore[no-untyped-call]
    for topic_partition, future in admin.list_offsets(asked, isolation_level=level, request_timeout=_TIMEOUT_S).items():
        try:
            found[int(topic_partition.partition)] = int(future.result(_TIMEOUT_S + 1).offset)
        except (KafkaException, TimeoutError):
            continue
    return found
