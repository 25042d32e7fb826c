"""Handshake with a broker by Python's `ssl`, after librdkafka has failed: it tells apart why.

librdkafka has one text for an unknown authority, another host name and an expired certificate.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from schemas.settings import KafkaSettings
from transport.tls import ssl_context

_TIMEOUT_S = 2.0
_DEFAULT_PORT = 9092
_REASONS = {
    **dict.fromkeys(
        (7, 18, 19, 20, 21),
        "its authority is unknown; name the authority's certificate with ssl.ca.location, or correct the address",
    ),
    9: "it is not valid yet; compare the clocks of both machines",
    10: "it has expired; the broker needs a new one, or the clock of this machine is wrong",
    23: "it is revoked",
    **dict.fromkeys((62, 64), "it is for another host name; name the broker as its certificate does"),
}


def why_untrusted(kafka: KafkaSettings) -> str | None:
    """Return the reason for which a broker's certificate is not believed; None if all are believed, or none answers."""
    context = ssl_context(kafka)
    for host, port in addresses(kafka.bootstrap_servers):
        try:
            _shake_hands(host, port, context)
        except ssl.SSLCertVerificationError as error:
            return _REASONS.get(error.verify_code, error.verify_message)
        except OSError:
            continue
    return None


def speaks_tls(kafka: KafkaSettings) -> bool:
    """Return True if a port that the settings name speaks TLS. Nothing is sent but the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is asked only whether there is TLS
    for host, port in addresses(kafka.bootstrap_servers):
        try:
            _shake_hands(host, port, context)
        except OSError:  # also ssl.SSLError
            continue
        return True
    return False


def speaks_no_tls(kafka: KafkaSettings) -> bool:
    """Return True if a port that the settings name ends a TLS handshake, or answers it with something else.

    A broker without TLS closes the connection at the first bytes of a handshake. One with TLS answers, if only by an
    alert.
    """
    context = ssl_context(kafka)
    for host, port in addresses(kafka.bootstrap_servers):
        try:
            plain = socket.create_connection((host, port), _TIMEOUT_S)
        except OSError:
            continue
        with plain:
            try:
                context.wrap_socket(plain, server_hostname=host).close()
            except (ssl.SSLEOFError, ConnectionError):
                return True
            except ssl.SSLError as error:
                if error.reason == "WRONG_VERSION_NUMBER":
                    return True
            except OSError:
                continue
    return False


def addresses(bootstrap_servers: str) -> Iterator[tuple[str, int]]:
    """Yield host and port of each server.

    Examples
    --------
    >>> list(addresses("kafka.plant:9093,[::1]:9094, k2"))
    [('kafka.plant', 9093), ('::1', 9094), ('k2', 9092)]
    """
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if not port.isdigit():
            host, port = server.strip(), str(_DEFAULT_PORT)
        yield host.strip("[]"), int(port)


def _shake_hands(host: str, port: int, context: ssl.SSLContext) -> None:
    with socket.create_connection((host, port), _TIMEOUT_S) as plain:
        context.wrap_socket(plain, server_hostname=host).close()
