"""Errors of Kafka that no wait ends: permanent refusals of a message, as opposed to temporary ones."""

from __future__ import annotations

from enum import StrEnum

from confluent_kafka import KafkaError


class Refused(StrEnum):
    """Reason for which Kafka will never accept a message as it is."""

    TOO_LARGE = "too-large"
    TIMESTAMP = "timestamp"
    RECORD = "record"
    #: Another message of the same batch was refused; this one was not checked.
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
    """Return the reason for which Kafka will never accept a message as it is; None if a retry may help.

    Examples
    --------
    >>> refusal_of(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    <Refused.TOO_LARGE: 'too-large'>
    >>> refusal_of(KafkaError(KafkaError._MSG_TIMED_OUT)) is None
    True
    """
    return _CODES.get(error.code())
