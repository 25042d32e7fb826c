"""Kafka producers that never write a message twice; one of them is ready from its first message on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from schemas.settings import KafkaSettings
from transport.broker_cause import kafka_error
from transport.clients import LONG_LIVED, client_config, refused_settings
from transport.clock_waits import ClockWaits
from transport.credentials import follow_password, refreshed

if TYPE_CHECKING:
    from transport.signing_key import Signer

#: Longest wait for the broker, in seconds. The caller handles a broker that has not answered by then.
_READY_S = 2.0
_STATISTICS_MS = 100
#: Longest wait for the broker after the clock was set back, in seconds.
_WAKE_S = 0.5

#: Receiver of librdkafka's own lines: it prints those of fatal errors at any level. They are raised, too.
_SILENT = logging.getLogger("transport.librdkafka")
_SILENT.disabled = True

#: Settings that all producers of a line share.
_COMMON: Mapping[str, Any] = {
    "enable.idempotence": True,
    "linger.ms": 0,
    # The partitioner of the Java client and of Faust: one key has one partition, whichever client writes.
    "partitioner": "murmur2_random",
}


class Producer(confluent_kafka.Producer):
    """Producer whose fatal errors are always a `KafkaException`.

    With a callback in the same call, confluent-kafka raises a `SystemError` with the error as its cause. With a
    ``signer``, each message is signed.
    """

    signer: Signer | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Statistics are served too, and a client that stands still makes none: they end no wait.
        self._waits = ClockWaits(busy_s=0.0)
        super().__init__(*arguments, **options)

    def produce(self, topic: str, value: Any = None, key: Any = None, *arguments: Any, **options: Any) -> None:
        """Pass a message to the client, see confluent-kafka."""
        if self.signer is not None:
            key, value = (part.encode() if isinstance(part, str) else part for part in (key, value))
            given = options.get("headers") or ()
            pairs = list(given.items()) if isinstance(given, Mapping) else list(given)
            options["headers"] = self.signer.headers(topic, key, value, pairs)
        super().produce(topic, value, key, *arguments, **options)

    def poll(self, timeout: float = -1) -> int:
        """Serve callbacks; return their number, as soon as there are some."""
        with _unwrapped():
            for _ in self._waits.attempts(timeout):
                self._wake()
                if served := super().poll(0):
                    self._waits.arrived()
                    return served
        return 0

    def flush(self, timeout: float = -1) -> int:
        """Wait for acknowledgements; return the number of messages without one."""
        self._waits.arrived()  # the acknowledgements come soon
        with _unwrapped():
            for _ in self._waits.attempts(timeout):
                self._wake()
                if not super().flush(0):
                    break
        return len(self)

    def _wake(self) -> None:
        """Wake the client's own thread, by which the answer of the broker passes, if the clock was set back."""
        if self._waits.was_set_back():
            with suppress(KafkaException):
                self.list_topics(timeout=_WAKE_S)


@contextmanager
def _unwrapped() -> Iterator[None]:
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, KafkaException):
            raise error.__cause__ from None
        raise


def make_producer(kafka: KafkaSettings, config: Mapping[str, Any]) -> Producer:
    """Make a producer that never writes a message twice. It connects in the background.

    Parameters
    ----------
    config
        Further settings of librdkafka.
    """
    kafka = refreshed(kafka)
    with refused_settings(kafka):
        producer = Producer({**client_config(kafka), **_COMMON, **config, "logger": _SILENT})
    if kafka.signing_key is not None:
        from transport.signing_key import signer_of  # it takes 50 ms, and most programs sign nothing

        producer.signer = signer_of(kafka.signing_key)
    follow_password(kafka, producer)
    return producer


def make_idempotent_producer(
    kafka: KafkaSettings, config: Mapping[str, Any], on_error: Callable[[KafkaError], None]
) -> Producer:
    """Make a long-lived producer, and wait at most `_READY_S` until it can send.

    Without the wait the first messages take half a second: an idempotent client asks for its identity when the
    connection is up, and checks the connection only twice a second. Only the client's statistics show that it has an
    identity.

    Parameters
    ----------
    config
        Further settings of librdkafka.
    on_error
        Called in the polling thread with each error that the client would have logged.

    Raises
    ------
    NotAuthorised
        If the user may not write to any topic.
    """
    ready = False

    def on_statistics(statistics: str) -> None:
        nonlocal ready
        ready = ready or '"idemp_state":"Assigned"' in statistics.replace(" ", "")

    watched = {"error_cb": on_error, "stats_cb": on_statistics, "statistics.interval.ms": _STATISTICS_MS}
    producer = make_producer(kafka, {**LONG_LIVED, **config, **watched})
    deadline_s = time.monotonic() + _READY_S
    try:
        while not ready and time.monotonic() < deadline_s:
            producer.poll(0.01)
    except KafkaException as error:
        raise kafka_error(kafka, error.args[0], f"{kafka.prefix}.*") from error
    return producer
