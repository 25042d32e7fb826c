"""The audit log of a line: events are appended, each with the state of the hash chain, and read back.

No role may delete or alter the topic. An event is written when the broker has acknowledged it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message

from schemas.codec import Codec
from schemas.errors import CodecError
from schemas.records import AuditEvent
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT_LOG
from transport.audit_chain import START, ChainPoint, end_of_chain
from transport.broker_cause import broker_error, kafka_error
from transport.producer import make_producer
from transport.range_reader import read_ranges
from transport.topic_ranges import TimeRange, time_ranges, watermarks

_TIMEOUT_S = 15.0
#: Messages that are read at first to find the end of the chain.
_TAIL = 16


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """Message of the audit log; ``event`` is None and ``problem`` set if it is not an event.

    Parameters
    ----------
    at_us
        Time at which the broker took it, UTC µs.
    """

    offset: int
    at_us: int
    event: AuditEvent | None
    value: bytes
    headers: dict[str, bytes]
    key: bytes | None = None
    problem: str = ""

    @property
    def states(self) -> ChainPoint | None:
        """Point of the chain that the event states; None if the message is not an event."""
        return None if self.event is None else ChainPoint(self.event.chain_offset, self.event.chain_sha256)


def read_audit_log(kafka: KafkaSettings, within: TimeRange | None = None) -> Iterator[LoggedEvent]:
    """Yield the messages of the audit log, oldest first.

    Raises
    ------
    BrokerUnavailable, NotAuthorised, TopicMissing
        If the topic cannot be read.
    """
    codec = Codec.from_settings(kafka)
    ranges = time_ranges(kafka, kafka.audit_log, within or TimeRange())
    for number, spans in ranges.items():
        if number == 0:
            yield from _read(kafka, codec, spans[0])


def append_event(kafka: KafkaSettings, event: AuditEvent) -> int:
    """Append an event and wait for the acknowledgement; return its offset.

    Parameters
    ----------
    event
        Its ``chain_*`` are filled in here.

    Raises
    ------
    BrokerUnavailable, NotAuthorised, TopicMissing
        If the topic cannot be read or written.
    """
    codec, topic = Codec.from_settings(kafka), kafka.audit_log
    point = _end(kafka, codec)
    event = dataclasses.replace(event, chain_offset=point.offset, chain_sha256=point.sha256)
    key, value = event.key.encode(), codec.encode(event)
    outcome: list[tuple[KafkaError | None, int]] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        outcome.append((error, message.offset() or 0))

    producer = make_producer(kafka, {"acks": "all", "delivery.timeout.ms": round(_TIMEOUT_S * 1000)})
    try:
        producer.produce(topic, value, key, partition=0, on_delivery=delivered)
        producer.flush(_TIMEOUT_S + 1)
    except KafkaException as error:
        raise kafka_error(kafka, error.args[0], topic) from error
    if not outcome:
        raise broker_error(kafka, f"no answer for {_TIMEOUT_S:.0f} s")
    failed, offset = outcome[0]
    if failed is not None:
        raise kafka_error(kafka, failed, topic)
    return offset


def _end(kafka: KafkaSettings, codec: Codec) -> ChainPoint:
    """Return the point at the newest message."""
    low, high = watermarks(kafka, kafka.audit_log)[0]
    # Nothing was written yet, or everything has gone with its retention, or nothing in it is an event.
    start = dataclasses.replace(START, offset=low - 1)
    count = _TAIL
    while low < high:
        begin = max(low, high - count)
        found = [(each.offset, each.value, _possible(each)) for each in _read(kafka, codec, (begin, high))]
        point = end_of_chain(found, start if begin == low else None)
        if point is not None and point.offset == high - 1:
            return point
        if begin == low:
            return dataclasses.replace(START, offset=high - 1)  # the check names the place
        count *= 8
    return start


def _possible(each: LoggedEvent) -> ChainPoint | None:
    claim = each.states
    return claim if claim is not None and claim.is_possible(each.offset) else None


def _read(kafka: KafkaSettings, codec: Codec, span: tuple[int, int]) -> Iterator[LoggedEvent]:
    for message in read_ranges(kafka, kafka.audit_log, {0: (span,)}):
        event, problem, value = None, "", message.value or b""
        try:
            event = codec.decode(value, AuditEvent, max_bytes=AUDIT_LOG.max_message_bytes)
        except CodecError as error:
            problem = f"{error.kind}: {error}"
        yield LoggedEvent(message.offset, message.timestamp_us, event, value, message.headers, message.key, problem)
