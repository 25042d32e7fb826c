"""Errors of Kafka that no waiting ends: what it never takes is told from what it does not take now."""

from __future__ import annotations

from enum import StrEnum

from confluent_kafka import KafkaError


class Refused(StrEnum):
    """Why Kafka never takes a message as it is."""

    TOO_LARGE = "too-large"
    TIMESTAMP = "timestamp"
    RECORD = "record"
    #: Another message of the same batch was refused; this one was not looked at.
    NEIGHBOUR = "neighbour"


_CODES = {
    KafkaError.MSG_SIZE_TOO_LARGE: Refused.TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE: Refused.TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE: Refused.TOO_LARGE,
    KafkaError.INVALID_TIMESTAMP: Refused.TIMESTAMP,
    KafkaError.INVALID_RECORD: Refused.RECORD,
    KafkaError._INVALID_DIFFERENT_RECORD: Refused.NEIGHBOUR,
}


def refusal_of(error: KafkaError) -> Refused | None:
    """Return why Kafka will never take a message as it is; None if another try may help.

    Examples
    --------
    >>> refusal_of(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    <Refused.TOO_LARGE: 'too-large'>
    >>> refusal_of(KafkaError(KafkaError._MSG_TIMED_OUT)) is None
    True
    """
    return _CODES.get(error.code())
