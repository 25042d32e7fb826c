"""What the fault tests share: load with known frames, workers that are restarted, and the books at the end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.broker import LocalBroker
from infra.broker.config import Tunnel
from schemas import KafkaSettings
from tests.support.faults import OwnBroker, Workers
from tests.support.proxy import Proxied, Proxy
from transport.topic_setup import apply


@pytest.fixture
def workers(line: KafkaSettings, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(line, tmp_path)
    yield workers
    workers.close()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[OwnBroker]:
    broker = OwnBroker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.stop()


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    """The proxy, the line through it, and the line past it (for the books)."""
    direct, listen, advertised = free_ports(3)
    with LocalBroker(tmp_path / "broker", direct, 256, tunnel=Tunnel(listen, advertised)) as broker:
        past = KafkaSettings(broker.bootstrap_servers)
        apply(past)
        proxy = Proxy(advertised, listen)
        yield proxy, KafkaSettings(f"127.0.0.1:{advertised}"), past
        proxy.close()
