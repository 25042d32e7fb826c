"""Comparison of this machine's clock with the broker's."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from infra.doctor.check import Check
from schemas.clock import Clock, SystemClock
from schemas.settings import KafkaSettings
from transport.clients import make_admin
from transport.producer import make_producer

_TIMEOUT_S = 10.0
#: Deadlines are a few hundred milliseconds; gates and watch skip messages that are some seconds old.
_WARN_S, _FAIL_S = 0.5, 5.0
_REMEDY = "let chrony or another NTP client set the clocks of both machines"


def broker_clock(kafka: KafkaSettings, clock: Clock | None = None) -> Check:
    """Check that this machine's clock and the broker's agree.

    Kafka shows its time only in the timestamp of a message. So this check creates a topic that stamps messages on
    arrival, sends a message, and deletes the topic. It writes to no other topic.
    """
    clock = clock or SystemClock()
    try:
        with _stamping_topic(kafka) as topic:
            ahead_s, doubt_s = _ahead(kafka, topic, clock)
    except KafkaException as error:
        detail = f"not compared: {error.args[0].str()}"
        return Check("broker's clock", "warn", detail, "compare `date --utc` here and on the broker's machine")
    off_s = max(0.0, abs(ahead_s) - doubt_s)
    if off_s <= _WARN_S:
        return Check("broker's clock", "ok", f"as this one, within {max(abs(ahead_s), doubt_s):.1f} s")
    where = "ahead of" if ahead_s > 0 else "behind"
    detail = f"this clock is {span(abs(ahead_s))} {where} the broker's"
    return Check("broker's clock", "warn" if off_s <= _FAIL_S else "fail", detail, _REMEDY)


def span(seconds: float) -> str:
    """Return a duration in a suitable unit.

    Examples
    --------
    >>> span(0.7), span(90), span(7201), span(200_000)
    ('0.7 s', '1.5 min', '2 h', '2.3 d')
    """
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{round(seconds / size, 1):g} {unit}"
    return f"{seconds:.1f} s"


def _ahead(kafka: KafkaSettings, topic: str, clock: Clock) -> tuple[float, float]:
    """Return the seconds that this clock is ahead, and the uncertainty."""
    stamps: list[tuple[int, int]] = []
    errors: list[KafkaException] = []

    def delivered(error: object, message: Message) -> None:
        if error is not None:
            errors.append(KafkaException(error))
        else:
            stamps.append(message.timestamp())

    producer = make_producer(kafka, {})
    # Only the second message is measured: the first one also waits for the connection.
    for _ in range(2):
        sent_us = clock.utc_us()
        producer.produce(topic, b"", on_delivery=delivered)
        producer.flush(_TIMEOUT_S)
        answered_us = clock.utc_us()
        if errors:
            raise errors[0]
    kind, stamp_ms = stamps[-1] if stamps else (0, 0)
    if kind != TIMESTAMP_LOG_APPEND_TIME:
        raise KafkaException(KafkaError(KafkaError._FAIL, "the broker did not stamp the message"))
    return ((sent_us + answered_us) / 2e6 - stamp_ms / 1e3), (answered_us - sent_us) / 2e6


@contextmanager
def _stamping_topic(kafka: KafkaSettings) -> Iterator[str]:
    admin = make_admin(kafka)
    name = f"{kafka.prefix}.doctor-{uuid.uuid4().hex[:12]}"
    config = {"message.timestamp.type": "LogAppendTime", "retention.ms": "60000"}
    admin.create_topics([NewTopic(name, 1, config=config)])[name].result(_TIMEOUT_S)
    try:
        yield name
    finally:
        admin.delete_topics([name])[name].result(_TIMEOUT_S)
