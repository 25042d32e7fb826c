"""The topic that keeps what `inspection watch` knows of each camera, across restarts and rebalances.

A snapshot names the offset up to which it has seen the camera's decisions and labels. Messages are acked after the
snapshot that has seen them is acknowledged by Kafka; what is read again after a crash lies below the snapshot's offsets
and is skipped. So the detectors go on where they were, and no message counts twice.

::

    "ID1" | length of the header (4 bytes, big endian) | header (JSON: offsets, lengths) | states, one after the other

Only this program reads it, so there is no schema. Anything else in the topic is ignored, and the camera begins anew.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.batches import BOUNDED, BatchSkipper
from schemas.errors import BrokerUnavailable
from schemas.settings import KafkaSettings

log = logging.getLogger(__name__)
_MARK = b"ID1"
_TIMEOUT_S = 10.0
_QUIET_S = 30.0


class SnapshotError(ValueError):
    """Bytes that are no snapshot."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of one camera.

    Parameters
    ----------
    offsets
        Topic to the next offset: what lies below has been seen.
    states
        By the name of what is to go on from it.

    Examples
    --------
    >>> Snapshot.loads(Snapshot({"d": 7}, {"data": b"x", "concept": b"yz"}).dumps())
    Snapshot(offsets={'d': 7}, states={'data': b'x', 'concept': b'yz'})
    """

    offsets: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, bytes] = field(default_factory=dict)

    def dumps(self) -> bytes:
        """As bytes."""
        lengths = {name: len(state) for name, state in self.states.items()}
        header = json.dumps({"offsets": dict(self.offsets), "lengths": lengths}).encode()
        return b"".join([_MARK, len(header).to_bytes(4, "big"), header, *self.states.values()])

    @classmethod
    def loads(cls, given: bytes) -> Snapshot:
        """Read what `dumps` made.

        Raises
        ------
        SnapshotError
            If it is something else.
        """
        if not given.startswith(_MARK):
            raise SnapshotError("does not begin as a snapshot does")
        begin = len(_MARK) + 4
        place = begin + int.from_bytes(given[len(_MARK) : begin], "big")
        try:
            header = json.loads(given[begin:place])
            offsets = {str(topic): int(offset) for topic, offset in header["offsets"].items()}
            lengths = {str(name): int(length) for name, length in header["lengths"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SnapshotError(f"no header: {error}") from error
        states = {}
        for name, length in lengths.items():
            states[name] = given[place : place + length]
            place += length
        if place != len(given) or min(lengths.values(), default=0) < 0:
            raise SnapshotError("not as long as it says")
        return cls(offsets, states)


def read_snapshots(kafka: KafkaSettings, partition: int) -> dict[str, Snapshot]:
    """The newest snapshot of each camera of a partition. Joins no group; blocks until it has read to the end.

    Of two snapshots the one that has seen more is the newer: a process that had lost its partition may write late.

    Raises
    ------
    BrokerUnavailable
        If the broker does not answer.
    """
    consumer = Consumer(
        {
            **BOUNDED,
            "bootstrap.servers": kafka.bootstrap_servers,
            # Nobody's open transaction may keep a restart from its state.
            "isolation.level": "read_uncommitted",
            "group.id": "inspection-watch-state",  # must be named, is never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    found: dict[str, Snapshot] = {}
    skipper = BatchSkipper(kafka.bootstrap_servers)
    try:
        numbers = consumer.list_topics(kafka.drift_state, timeout=_TIMEOUT_S).topics[kafka.drift_state].partitions
        if numbers and partition not in numbers:
            log.warning(
                "%s has %d partitions and none of number %d: cameras of that partition begin from scratch at each "
                "start; give it as many partitions as %s has",
                kafka.drift_state, len(numbers), partition, kafka.decisions,
            )  # fmt: skip
            return found
        low, high = consumer.get_watermark_offsets(TopicPartition(kafka.drift_state, partition), timeout=_TIMEOUT_S)
        if low >= high:
            return found
        consumer.assign([TopicPartition(kafka.drift_state, partition, low)])
        quiet_s = 0.0
        while quiet_s < _QUIET_S:
            messages = consumer.consume(100, 0.5)
            quiet_s = 0.0 if messages else quiet_s + 0.5
            skipper.skip(consumer)
            for message in messages:
                error = message.error()
                if skipper.met(message):
                    continue
                if error is None:
                    _keep(found, message.key(), message.value())
                elif error.code() == KafkaError._PARTITION_EOF:
                    return found
                elif error.fatal() or not error.retriable():
                    raise BrokerUnavailable(kafka.bootstrap_servers, error.str())
        raise BrokerUnavailable(kafka.bootstrap_servers, f"no end of {kafka.drift_state} in {_QUIET_S:.0f} s")
    except KafkaException as error:
        raise BrokerUnavailable(kafka.bootstrap_servers, error.args[0].str()) from error
    finally:
        skipper.close()
        consumer.close()


def _keep(found: dict[str, Snapshot], key: bytes | None, value: bytes | None) -> None:
    try:
        snapshot = Snapshot.loads(value or b"")
    except SnapshotError:
        return
    name = (key or b"").decode(errors="replace")
    before = found.get(name)
    if before is None or sum(snapshot.offsets.values()) >= sum(before.offsets.values()):
        found[name] = snapshot
