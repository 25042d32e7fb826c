"""Publication of labels in the topic of the line."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, Message

from schemas.codec import MAX_REST_BYTES, Codec
from schemas.errors import InspectionError, InvalidRecord
from schemas.records import Label
from schemas.settings import KafkaSettings
from transport.admin import require_topics
from transport.broker_cause import kafka_error
from transport.producer import make_producer

_TOPICS_S = 5.0
_IN_FLIGHT = 10_000


def publish_labels(kafka: KafkaSettings, labels: Iterable[Label], timeout_s: float = 30.0) -> int:
    """Publish labels in order, and wait until the broker has acknowledged them all; return their number.

    Run it again after an error: labels that are already published count once.

    Parameters
    ----------
    timeout_s
        Longest wait for the broker's answer to a label, in seconds.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        If the labels topic cannot be written.
    InspectionError
        If the broker accepts only some of them; the message has their number. If a label is larger than readers accept.
    """
    require_topics(kafka, [kafka.labels], min(timeout_s, _TOPICS_S))
    codec = Codec.from_settings(kafka)
    failures: list[KafkaError] = []
    taken = 0

    def delivered(error: KafkaError | None, _message: Message) -> None:
        nonlocal taken
        if error is None:
            taken += 1
        elif not failures:
            failures.append(error)

    producer = make_producer(
        kafka,
        {
            "delivery.timeout.ms": round(timeout_s * 1000),
            "queue.buffering.max.messages": _IN_FLIGHT,
        },
    )
    sent = 0
    try:
        for label in labels:
            if failures:
                break
            while len(producer) >= _IN_FLIGHT and not failures:
                producer.poll(0.1)
            value = codec.encode(label)
            if len(value) > MAX_REST_BYTES[Label]:
                raise InvalidRecord(
                    f"the label of {label.key}, {label.frame_id or label.part_id}, has {len(value)} bytes, over the "
                    f"{MAX_REST_BYTES[Label]} that readers take: shorten its note"
                )
            producer.produce(kafka.labels, value, label.key.encode(), on_delivery=delivered)
            sent += 1
            producer.poll(0)
        producer.flush(2 * timeout_s)
    except KafkaException as error:
        raise kafka_error(kafka, error.args[0], kafka.labels) from error
    if failures and not taken:
        raise kafka_error(kafka, failures[0], kafka.labels)
    if failures or taken < sent:
        why = failures[0].str() if failures else "no answer in time"
        raise InspectionError(f"the broker took {taken} of {sent} labels: {why}; run it again, none counts twice")
    return taken
