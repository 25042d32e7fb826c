"""Ports that speak TLS, and ports that do not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from infra.broker import LocalBroker
from schemas import KafkaSettings
from tests.support.secured import SecuredBroker
from transport.handshake import speaks_no_tls, speaks_tls


@contextmanager
def server(answer: Callable[[socket.socket], object]) -> Iterator[KafkaSettings]:
    """Serve one connection by a function; yield settings that name the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield KafkaSettings(f"127.0.0.1:{listener.getsockname()[1]}", client=(("security.protocol", "SSL"),))
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        lambda connection: connection.recv(1),  # bytes are left over: the connection is reset
        lambda connection: connection.recv(65536),
        lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ],
    ids=["reset", "closed", "another protocol"],
)
def test_a_port_that_ends_the_handshake_speaks_no_tls(answer: Callable[[socket.socket], object]) -> None:
    with server(answer) as kafka:
        assert speaks_no_tls(kafka)


def test_a_port_that_says_nothing_or_refuses_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.handshake._TIMEOUT_S", 0.2)
    hold = threading.Event()
    with server(lambda connection: hold.wait(30)) as kafka:
        assert not speaks_no_tls(kafka)
        hold.set()
    assert not speaks_no_tls(KafkaSettings("localhost:9"))


@pytest.mark.broker
def test_real_brokers(broker: LocalBroker, secured: SecuredBroker) -> None:
    plain = KafkaSettings(broker.bootstrap_servers)
    assert speaks_no_tls(plain)
    assert not speaks_tls(plain)
    for settings in (secured.settings("inspection"), KafkaSettings(secured.listener("SSL"))):
        assert speaks_tls(settings)
        assert not speaks_no_tls(settings)
