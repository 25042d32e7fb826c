"""Kafka clients of this project, all built in one way: connection settings, consumers, admin clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient as AdminClient

from schemas.addresses import masked_text
from schemas.connection.load import CONFIG_VARIABLE
from schemas.errors import SettingsError
from schemas.settings import KafkaSettings
from transport.clock_waits import BUSY_S
from transport.credentials import Consumer as Consumer
from transport.credentials import follow_password, refreshed

#: Connection settings of long-lived clients.
LONG_LIVED: Mapping[str, Any] = {
    "socket.timeout.ms": 10_000,
    "socket.keepalive.enable": True,
    "reconnect.backoff.max.ms": 2_000,
}


def client_config(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the settings of librdkafka that every client of a line needs to reach its brokers, secrets included.

    Examples
    --------
    >>> client_config(KafkaSettings("kafka.plant:9092"))
    {'bootstrap.servers': 'kafka.plant:9092', 'log_level': 0}
    """
    return _config(refreshed(kafka))


def _config(kafka: KafkaSettings) -> dict[str, Any]:
    # librdkafka's own log lines would go straight to the terminal; errors arrive through error_cb.
    return {**dict(kafka.client), "bootstrap.servers": kafka.bootstrap_servers, "log_level": 0}


def make_consumer(kafka: KafkaSettings, config: Mapping[str, Any], *, busy_s: float = BUSY_S) -> Consumer:
    """Make a consumer. It connects in the background.

    Parameters
    ----------
    config
        Further settings of librdkafka.
    busy_s
        See `transport.clock_waits`.

    Raises
    ------
    SettingsError
        If librdkafka cannot use a file of the connection.
    """
    kafka = refreshed(kafka)
    with refused_settings(kafka):
        consumer = Consumer({**_config(kafka), **config}, busy_s=busy_s)
    follow_password(kafka, consumer)
    return consumer


def make_admin(
    kafka: KafkaSettings, request_ms: int = 4_000, on_error: Callable[[KafkaError], object] | None = None
) -> AdminClient:
    """Make an admin client. It connects in the background.

    Parameters
    ----------
    request_ms
        Longest time of one request, in ms.
    on_error
        Called by ``poll`` with each error of the connection.

    Raises
    ------
    SettingsError
        If librdkafka cannot use a file of the connection.
    """
    kafka = refreshed(kafka)
    config = {**_config(kafka), "socket.timeout.ms": request_ms}
    if on_error is not None:
        config["error_cb"] = on_error
    with refused_settings(kafka):
        admin = AdminClient(config)
    follow_password(kafka, admin)
    return admin


@contextmanager
def refused_settings(kafka: KafkaSettings) -> Iterator[None]:
    """Turn the error of a client that cannot be made, such as a key that does not fit, into a `SettingsError`."""
    try:
        yield
    except KafkaException as error:
        if not kafka.client or error.args[0].code() != KafkaError._INVALID_ARG:
            raise
        text = masked_text(error.args[0].str().partition(": ")[2] or error.args[0].str())
        raise SettingsError(f"the files of {CONFIG_VARIABLE} cannot be used: {text}") from error
