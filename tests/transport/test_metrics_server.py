"""Address of metrics: loopback, unless another one is named."""

from __future__ import annotations

import inspect
import logging
import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter

from infra.cli.line.actuate import actuate
from infra.cli.line.archive import archive
from infra.cli.line.produce import produce
from schemas.errors import SettingsError
from transport.metrics_server import serve_metrics


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Counter("parts", "Parts", registry=made).inc()
    return made


def read(host: str, port: int | None) -> str:
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_loopback_is_the_default_and_other_addresses_of_the_machine_refuse(registry: CollectorRegistry) -> None:
    with serve_metrics(registry, 0) as port:
        assert "parts_total 1.0" in read("127.0.0.1", port)
        with socket.socket() as client:
            client.settimeout(2)
            assert client.connect_ex(("127.0.0.2", port or 0)) != 0


def test_another_address_is_served_alone(registry: CollectorRegistry, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), serve_metrics(registry, 0, "127.0.0.2") as port:
        assert "parts_total 1.0" in read("127.0.0.2", port)
    assert f"http://127.0.0.2:{port}/metrics" in caplog.text
    assert "open to whoever" not in caplog.text


@pytest.mark.parametrize("address", ["", "localhost:9", "256.1.1.1", "any"])
def test_what_is_no_address_is_said(registry: CollectorRegistry, address: str) -> None:
    with pytest.raises(SettingsError, match="an IP address of this machine"), serve_metrics(registry, 0, address):
        pass


def test_an_address_of_another_machine_is_said(registry: CollectorRegistry) -> None:
    refused = pytest.raises(SettingsError, match=r"no metrics on port 0 of 192\.0\.2\.1")
    with refused, serve_metrics(registry, 0, "192.0.2.1"):
        pass


@pytest.mark.parametrize("command", [actuate, archive, produce])
def test_each_command_with_a_port_takes_an_address(command: object) -> None:
    parameters = inspect.signature(command).parameters  # type: ignore[arg-type]
    assert parameters["metrics_address"].default == "127.0.0.1"
    assert "metrics_port" in parameters
