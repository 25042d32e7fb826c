"""State topic of `inspection watch`: it keeps the state of each camera across restarts and rebalances.

A snapshot contains the offset up to which the camera's decisions and labels are included. Messages are acked after
Kafka has acknowledged the snapshot that includes them. Messages that are read again after a crash lie below the
snapshot's offsets and are skipped. So the detectors continue where they were, and no message counts twice.

::

    "ID1" | length of the header (4 bytes, big endian) | header (JSON: offsets, lengths, ids) | states, in that order

Only this program reads it, so there is no schema. But anyone may write to the topic, so nothing in it is trusted: a
message that is not a snapshot is void, and so is a snapshot whose offsets lie beyond the end of their topic or belong
to a topic that was deleted and re-created. This is logged, and the camera begins from scratch. A message without a
value removes a camera.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from monitoring.bounded_json import parse
from monitoring.checked import fields, mapping, text, whole
from schemas.groups import WATCH_STATE
from schemas.settings import KafkaSettings
from transport.batch_trials.pipe import Unproven
from transport.batch_trials.trial import Trial
from transport.batches import BOUNDED, BatchSkipper, UnreadableBatch
from transport.broker_cause import broker_error
from transport.clients import Consumer, make_consumer
from transport.topic_identity import TopicIdentities
from transport.watermarks import low_and_high

log = logging.getLogger(__name__)

_MARK = b"ID1"
_TIMEOUT_S = 10.0
#: Time, messages and bytes for the trial of a partition.
_TRIAL_S, _TRIAL_COUNT, _TRIAL_BYTES = 40.0, 50_000, 64 * 1024 * 1024
_QUIET_S = 30.0
#: Limits on the size of a snapshot, from the table of topics, and on its header, topics and states.
_MAX_BYTES = 4 * 1024 * 1024
_MAX_HEADER_BYTES = 65_536
_MAX_NAMES = 16
#: Longest ``station/camera``, in characters.
MAX_KEY = 1000
#: Most bytes of snapshots of a partition that wait for their camera.
_MAX_KEPT_BYTES = 256 * 1024 * 1024
MAX_CAMERAS = 1000
#: Most evicted cameras that are remembered; the snapshots of others stay in the topic until another start.
_MOST_DROPPED = 10_000
#: Most void snapshots that are named in the log; beyond that, only their number is logged.
_NAMED = 10


class SnapshotError(ValueError):
    """Bytes that are not a snapshot."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of one camera.

    Parameters
    ----------
    offsets
        Next offset by topic: messages below it are included.
    states
        States by the name of the part that continues from them.
    ids
        Kafka's id by topic; older versions wrote no ids.

    Examples
    --------
    >>> Snapshot.loads(Snapshot({"d": 7}, {"data": b"x", "concept": b"yz"}).dumps())
    Snapshot(offsets={'d': 7}, states={'data': b'x', 'concept': b'yz'})
    """

    offsets: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, bytes] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict, repr=False)

    def dumps(self) -> bytes:
        """Return the snapshot as bytes."""
        lengths = {name: len(state) for name, state in self.states.items()}
        header = json.dumps({"offsets": dict(self.offsets), "lengths": lengths, "ids": dict(self.ids)}).encode()
        return b"".join([_MARK, len(header).to_bytes(4, "big"), header, *self.states.values()])

    @classmethod
    def loads(cls, given: bytes) -> Snapshot:
        """Decode bytes that `dumps` returned.

        Raises
        ------
        SnapshotError
            If the bytes are not a snapshot.
        """
        if len(given) > _MAX_BYTES:
            raise SnapshotError(f"{len(given)} bytes, at most {_MAX_BYTES}")
        if not given.startswith(_MARK):
            raise SnapshotError("does not begin as a snapshot does")
        begin = len(_MARK) + 4
        position = begin + int.from_bytes(given[len(_MARK) : begin], "big")
        try:
            header = fields(parse(given[begin:position], _MAX_HEADER_BYTES), ("offsets", "lengths"))
            offsets = {topic: whole(offset) for topic, offset in mapping(header["offsets"], _MAX_NAMES).items()}
            lengths = {name: whole(n, 0, len(given)) for name, n in mapping(header["lengths"], _MAX_NAMES).items()}
            ids = {topic: text(name, 100) for topic, name in mapping(header.get("ids", {}), _MAX_NAMES).items()}
        except ValueError as error:
            raise SnapshotError(f"no header: {error}") from error
        states = {}
        for name, length in lengths.items():
            states[name] = given[position : position + length]
            position += length
        if position != len(given):
            raise SnapshotError("not as long as it says")
        return cls(offsets, states, ids)


class FoundSnapshots:
    """Collection of the newest snapshot of each camera of a partition, in bounded memory.

    Of two snapshots the one with the higher offsets is newer: a process that had lost its partition may write late.

    Parameters
    ----------
    ends
        Function that returns the end of the partition for each topic: no valid snapshot has a higher offset.
    most
        Most cameras that are kept: those with the newest snapshots.
    ids
        Kafka's id by topic, if known.
    """

    def __init__(
        self,
        ends: Callable[[], Mapping[str, int]],
        most: int = MAX_CAMERAS,
        ids: Mapping[str, str] | None = None,
    ) -> None:
        self.ids = dict(ids or {})
        self._ask = ends
        #: End of the partition for each topic, at the start of the search.
        self.ends = self._ends = ends()
        #: Number of requests for the ends that may still be in vain: many snapshots must not cause many requests.
        self._asks = _NAMED
        self._most = most
        self._bytes = 0
        self.found: OrderedDict[str, Snapshot] = OrderedDict()
        #: By camera: the reason for which its newest message is void; and the number of void messages.
        self.void: dict[str, str] = {}
        self.voided = 0
        #: Cameras that were evicted, without those that a later message brings back or removes.
        self.dropped: dict[str, None] = {}

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """Process the next message of the topic."""
        name = (key or b"").decode(errors="replace")
        try:
            if len(name) > MAX_KEY:
                raise SnapshotError(f"a camera's name of {len(name)} characters, at most {MAX_KEY}")
            if value is None:
                self._drop(name)
                self.dropped.pop(name, None)
                return
            snapshot = Snapshot.loads(value)
            self._check(snapshot)
        except SnapshotError as error:
            self.voided += 1
            if len(self.void) < _NAMED:
                self.void[name[:MAX_KEY]] = str(error)
            return
        before = self.found.get(name)
        if before is not None and self._seen(snapshot) < self._seen(before):
            return
        self._drop(name)
        self.dropped.pop(name, None)
        self.found[name] = snapshot
        self._bytes += _size(snapshot)
        while len(self.found) > self._most or self._bytes > _MAX_KEPT_BYTES:
            oldest = next(iter(self.found))
            self._drop(oldest)
            if len(self.dropped) < _MOST_DROPPED:
                self.dropped[oldest] = None

    def _check(self, snapshot: Snapshot) -> None:
        for topic, name in self.ids.items():
            if snapshot.ids.get(topic, name) != name:
                raise SnapshotError(f"it is of a topic {topic} that was deleted: the one of that name is another one")
        if self._asks and self._ahead(snapshot):
            before, self._ends = self._ends, self._ask()  # another process may have read further meanwhile
            self._asks -= self._ends == before
        for topic in self._ahead(snapshot):
            offset, end = snapshot.offsets[topic], self._ends[topic]
            raise SnapshotError(f"offset {offset} of {topic} lies beyond its end, {end}")

    def _ahead(self, snapshot: Snapshot) -> list[str]:
        return [topic for topic, end in self._ends.items() if snapshot.offsets.get(topic, 0) > end]

    def _drop(self, name: str) -> None:
        gone = self.found.pop(name, None)
        self._bytes -= 0 if gone is None else _size(gone)

    def _seen(self, snapshot: Snapshot) -> tuple[int, int]:
        ours = sum(snapshot.offsets.get(topic, 0) for topic in self._ends)
        return ours, sum(snapshot.offsets.values())


def read_snapshots(kafka: KafkaSettings, partition: int, most: int = MAX_CAMERAS) -> dict[str, Snapshot]:
    """Return the newest snapshot of each camera of a partition, see `find_snapshots`."""
    return dict(find_snapshots(kafka, partition, most).found)


def find_snapshots(
    kafka: KafkaSettings,
    partition: int,
    most: int = MAX_CAMERAS,
    *,
    is_tried: bool = False,
    on_unreadable: Callable[[UnreadableBatch], object] = lambda batch: None,
) -> FoundSnapshots:
    """Read the snapshots of a partition. Joins no group; blocks until it has read to the end.

    Parameters
    ----------
    is_tried
        True after a process of the group has died: a child process reads the snapshots first, and a batch that ends the
        child is left out.
    on_unreadable
        Called with each batch that is skipped, in the calling thread.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If the broker is unreachable, or a topic does not exist.
    """
    topics, state = (kafka.decisions, kafka.labels), kafka.drift_state
    known = TopicIdentities(kafka).of([*topics, state])
    consumer = make_consumer(
        kafka,
        {
            **BOUNDED,
            "group.id": WATCH_STATE,  # required, but never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            # An open transaction must not delay the watch: the end of a topic includes open transactions.
            "isolation.level": "read_uncommitted",
        },
    )

    def range_of(topic: str) -> tuple[int, int]:
        if partition not in known[topic].partitions:
            return 0, 0
        return low_and_high(consumer, TopicPartition(topic, partition), _TIMEOUT_S)

    skipper = BatchSkipper(kafka)
    try:
        ids = {topic: known[topic].topic_id for topic in topics}
        found = FoundSnapshots(lambda: {topic: range_of(topic)[1] for topic in topics}, most, ids)
        numbers = known[state].partitions
        if partition not in numbers:
            log.warning(
                "%s has %d partitions and none of number %d: cameras of that partition begin from scratch at each "
                "start; give it as many partitions as %s has",
                state, len(numbers), partition, kafka.decisions,
            )  # fmt: skip
            return found
        low, high = range_of(state)
        if low < high and is_tried:
            low = _try(kafka, TopicPartition(state, partition, low), found, on_unreadable)
        if low < high:
            _read(consumer, TopicPartition(state, partition, low), found, skipper, kafka, on_unreadable)
    except KafkaException as error:
        raise broker_error(kafka, error.args[0].str()) from error
    finally:
        skipper.close()
        consumer.close()
    for name, why in found.void.items():
        log.warning("%s/%d: a snapshot of %s is void: %s", state, partition, ascii(name), why)
    if found.voided > len(found.void):
        log.warning("%s/%d: %d snapshots in all are void", state, partition, found.voided)
    return found


def _try(
    kafka: KafkaSettings,
    begin: TopicPartition,
    found: FoundSnapshots,
    on_unreadable: Callable[[UnreadableBatch], object],
) -> int:
    """Add the snapshots before a batch that ends a child process; return the offset from which to read on."""
    trial = Trial(kafka, _TRIAL_S)
    try:
        result = trial.partition(
            begin.topic, begin.partition, begin.offset, count=_TRIAL_COUNT, size_bytes=_TRIAL_BYTES
        )
    except (Unproven, OSError) as error:
        log.warning("%s/%d is read without a trial: %s", begin.topic, begin.partition, error)
        return begin.offset
    finally:
        trial.close()
    if result.needed is None:
        return begin.offset
    for record in result.needed.records:
        if isinstance(record, UnreadableBatch):
            on_unreadable(record)
        else:
            found.add(record.key(), record.value())
    return result.needed.following


def _read(
    consumer: Consumer,
    begin: TopicPartition,
    found: FoundSnapshots,
    skipper: BatchSkipper,
    kafka: KafkaSettings,
    on_unreadable: Callable[[UnreadableBatch], object],
) -> None:
    consumer.assign([begin])
    quiet_s = 0.0
    while quiet_s < _QUIET_S:
        messages = consumer.consume(100, 0.5)
        quiet_s = 0.0 if messages else quiet_s + 0.5
        for batch in skipper.skip(consumer):
            on_unreadable(batch)
        for message in messages:
            error = message.error()
            if skipper.met(message):
                continue
            if error is None:
                found.add(message.key(), message.value())
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            elif error.fatal() or not error.retriable():
                raise broker_error(kafka, error.str())
    raise broker_error(kafka, f"no end of {begin.topic} in {_QUIET_S:.0f} s")


def _size(snapshot: Snapshot) -> int:
    return sum(map(len, snapshot.states.values()))
