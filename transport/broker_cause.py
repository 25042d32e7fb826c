"""Cause for which no broker answers: network, certificate, or login.

Whatever the cause, a call of librdkafka ends with "transport failure", after its whole time-out. The cause comes by
``error_cb`` alone, between many repetitions.
"""

from __future__ import annotations

import re

from confluent_kafka import KafkaError, KafkaException

from schemas.addresses import masked_text
from schemas.errors import BrokerRefused, BrokerUnavailable, BrokerUntrusted, InspectionError, NotAuthorised
from schemas.settings import KafkaSettings
from transport.handshake import speaks_no_tls, speaks_tls, why_untrusted
from transport.tls import uses_tls

#: Answers of a broker to the certificate of a client, or to a missing one (RFC 8446, alert protocol).
_ALERT = re.compile(r"SSL alert number (?:42|43|44|45|46|48|49|116)\b")
_PLAIN_PORT = "PLAINTEXT broker listener"
#: The second one is for an idempotent producer that may not write to any topic.
_RIGHTS = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
_NO_PROOF = "certificate verify failed"
#: Texts of a request that nobody has answered, and the cause if the cluster answers otherwise.
_SILENCE = re.compile(r"\bLocal: |no answer|no message|nothing came")
_ANNOUNCED = "; the cluster answers, so a broker may announce an address that cannot be reached from here"
#: Address and id of the broker whose connection failed; the id is a number once the cluster has announced the broker.
_BROKER = re.compile(r"^(?:\w+://)?(\S+)/\d+: ")
#: Address before a text of librdkafka, and time behind it.
_AROUND = re.compile(r"^\S+://\S+: | \(after \d+ms in state \w+\)|, \d+ identical error\(s\) suppressed")


class FirstError:
    """Callback ``error_cb`` of a client that keeps the first telling error. Call it from the polling thread."""

    def __init__(self) -> None:
        self.error: KafkaError | None = None
        #: True if connections ended, for whatever reason.
        self.is_cut = False

    def __call__(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.is_cut = True
            return
        if self.error is None or (not _is_final(self.error) and _is_final(error)):
            self.error = error

    @property
    def is_final(self) -> bool:
        """True if waiting does not help: the broker refuses the login, or is not believed."""
        return self.error is not None and _is_final(self.error)


def broker_error(kafka: KafkaSettings, detail: str, first: FirstError | None = None) -> BrokerUnavailable:
    """Return the error for a broker that does not answer.

    Parameters
    ----------
    detail
        Text of the call that has failed.
    first
        Error that the client kept; None: a new client asks, for a second.
    """
    if first is None:
        first = _asked(kafka)
        if first is None:  # the cluster answers
            hint = _ANNOUNCED if kafka.client and _SILENCE.search(detail) else ""
            return BrokerUnavailable(kafka.bootstrap_servers, detail + hint)
    error = first.error
    text = "" if error is None else one_cause(error)
    if error is not None and _is_login(error):
        return BrokerRefused(kafka.bootstrap_servers, text)
    if error is not None and _is_proof(error):
        reason = why_untrusted(kafka)
        return BrokerUntrusted(kafka.bootstrap_servers, reason or text)
    # librdkafka's text depends on which side notices the end of the connection first.
    if _PLAIN_PORT in text or (uses_tls(kafka) and _is_transport(error) and speaks_no_tls(kafka)):
        return BrokerUnavailable(
            kafka.bootstrap_servers, "the port speaks no TLS, and INSPECTION_KAFKA_CONFIG asks for it"
        )
    if not uses_tls(kafka) and speaks_tls(kafka):
        return BrokerUnavailable(
            kafka.bootstrap_servers, "the port speaks TLS, and the client does not: set INSPECTION_KAFKA_CONFIG"
        )
    if error is None and kafka.client:
        cut, silent = "ends each connection: security.protocol may be another one", "is silent: it may stand still"
        detail = f"{detail}; the broker {cut if first.is_cut else silent}"
    elif error is None and first.is_cut:
        detail = "the broker ends each connection: it may want a login, which INSPECTION_KAFKA_CONFIG names"
    detail = text if kafka.client and text else detail
    return BrokerUnavailable(kafka.bootstrap_servers, detail + (_ANNOUNCED if _is_announced(error, kafka) else ""))


def kafka_error(kafka: KafkaSettings, error: KafkaError, topic: str, operation: str = "WRITE") -> InspectionError:
    """Return the error for a request about a topic that has failed: a missing right, or no broker.

    Parameters
    ----------
    operation
        Right that the request needs.
    """
    if error.code() in _RIGHTS:
        return NotAuthorised("topic", topic, operation)
    if error.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return NotAuthorised("transactional id", f"{kafka.prefix}-...", operation)
    return broker_error(kafka, error.str())


def one_cause(error: KafkaError) -> str:
    """Return the text of an error without the address before it and the time behind it."""
    return masked_text(_AROUND.sub("", error.str()))


def _asked(kafka: KafkaSettings) -> FirstError | None:
    """Ask for the topics; return None if the cluster answers. Without a client configuration nothing is asked."""
    from transport.clients import make_admin

    first = FirstError()
    if not kafka.client:
        return first
    admin = make_admin(kafka, on_error=first)
    try:
        admin.list_topics(timeout=1.0)
    except KafkaException:
        admin.poll(0)
        return first
    return None


def _is_final(error: KafkaError) -> bool:
    return _is_login(error) or _is_proof(error)


def _is_announced(error: KafkaError | None, kafka: KafkaSettings) -> bool:
    """Return True if the error is of an address that only the cluster has named."""
    broker = None if error is None else _BROKER.match(error.str())
    return broker is not None and broker[1] not in {each.strip() for each in kafka.bootstrap_servers.split(",")}


def _is_transport(error: KafkaError | None) -> bool:
    return error is None or error.code() == KafkaError._TRANSPORT


def _is_login(error: KafkaError) -> bool:
    return error.code() == KafkaError._AUTHENTICATION or _ALERT.search(error.str()) is not None


def _is_proof(error: KafkaError) -> bool:
    if _PLAIN_PORT in error.str():
        return False
    return error.code() == KafkaError._SSL or _NO_PROOF in error.str()
