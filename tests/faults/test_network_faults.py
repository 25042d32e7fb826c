"""TCP resets and stalls between the line's programs and the broker."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.broker import LocalBroker
from infra.broker.config import Tunnel
from schemas import KafkaSettings
from tests.support.faults import FULL, Load, Workers, await_progress, settle
from tests.support.proxy import Proxy
from transport.topic_setup import apply

pytestmark = [pytest.mark.broker, pytest.mark.faults]


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[Proxy, KafkaSettings, KafkaSettings]]:
    """The proxy, the line through it, and the line past it (for the books)."""
    direct, listen, advertised = free_ports(3)
    with LocalBroker(tmp_path / "broker", direct, 256, tunnel=Tunnel(listen, advertised)) as broker:
        past = KafkaSettings(broker.bootstrap_servers)
        apply(past)
        proxy = Proxy(advertised, listen)
        yield proxy, KafkaSettings(f"127.0.0.1:{advertised}"), past
        proxy.close()


@pytest.mark.long
@pytest.mark.parametrize("fault", ["resets", "stall"])
def test_network(
    proxied: tuple[Proxy, KafkaSettings, KafkaSettings], tmp_path: Path, fault: str, fault_row: Callable[..., None]
) -> None:
    proxy, through, past = proxied
    workers = Workers(through, tmp_path)
    try:
        workers.start().await_ready()
        load = Load(through, tmp_path / "spool")
        time.sleep(2)
        if fault == "resets":
            for _ in range(20 if FULL else 6):
                time.sleep(0.7)
                proxy.reset_all()
            assert proxy.resets > 6
        else:
            proxy.stall()
            time.sleep(20 if FULL else 8)
            proxy.resume()
        recovered = await_progress(past, tend=workers.revive, timeout_s=90)
        figures = settle(past, load, tend=workers.revive)
        fault_row(f"TCP {fault}", recovered_s=recovered, workers_restarted=workers.started - 1, **vars(figures))
    finally:
        workers.close()
