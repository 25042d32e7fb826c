"""HTTP endpoint of a program: its address, its paths, and health of a program that hangs."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import socket
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from typer.testing import CliRunner

from infra.cli.line.actuate import actuate
from infra.cli.line.archive import archive
from infra.cli.line.produce import produce
from infra.cli.line.watch import watch
from infra.cli.line.worker import worker
from infra.cli.root import app
from infra.cli.shared.options import http_endpoint
from schemas.errors import SettingsError
from stream_processors.faust_host import process
from stream_processors.faust_host.process import LoopMonitor
from transport.http_server import serve_http


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Counter("parts", "Parts", registry=made).inc()
    return made


def read(url: str | None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(str(url), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_loopback_is_the_default_and_other_addresses_of_the_machine_refuse(registry: CollectorRegistry) -> None:
    with serve_http(registry, 0) as url:
        assert "parts_total 1.0" in read(f"{url}/metrics")[1]
        port = int(str(url).rpartition(":")[2])
        with socket.socket() as client:
            client.settimeout(2)
            assert client.connect_ex(("127.0.0.2", port)) != 0


def test_another_address_is_served_alone(registry: CollectorRegistry, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), serve_http(registry, 0, "127.0.0.2") as url:
        assert str(url).startswith("http://127.0.0.2:")
        assert "parts_total 1.0" in read(f"{url}/metrics")[1]
    assert f"{url}/metrics" in caplog.text
    assert "open to whoever" not in caplog.text


def test_an_address_that_others_reach_is_logged(registry: CollectorRegistry, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), serve_http(registry, 0, "0.0.0.0"):
        assert "open to whoever reaches it, without password" in caplog.text


def test_a_name_and_an_ipv6_address_are_addresses(registry: CollectorRegistry) -> None:
    for host in ("localhost", "::1"):
        with serve_http(registry, 0, host) as url:
            assert read(f"{url}/metrics")[0] == 200


@pytest.mark.parametrize("host", ["", "localhost:9", "256.1.1.1", "no such name", "192.0.2.1", "a" * 300, "\0"])
def test_an_address_that_is_not_of_this_machine_is_one_error(registry: CollectorRegistry, host: str) -> None:
    with pytest.raises(SettingsError, match="cannot listen on"), serve_http(registry, 0, host):
        pass


def test_a_port_in_use_is_an_error_and_a_default_port_in_use_is_replaced(registry: CollectorRegistry) -> None:
    with serve_http(registry, 0) as url:
        port = int(str(url).rpartition(":")[2])
        in_use = pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}: another program")
        with in_use, serve_http(registry, port):
            pass
        with serve_http(registry, None, default_port=port) as other:
            assert other != url
            assert read(f"{other}/metrics")[0] == 200
    with serve_http(registry, None) as nothing:
        assert nothing is None


def test_health_has_a_status(registry: CollectorRegistry) -> None:
    report: dict[str, Any] = {"ok": True, "reason": None}
    with serve_http(registry, 0, health=lambda: report) as url:
        assert read(f"{url}/health") == (200, json.dumps(report))
        report = {"ok": False, "reason": "it is starting"}
        assert read(f"{url}/health") == (503, json.dumps(report))
        assert read(f"{url}/") == (404, "this program serves /metrics and /health\n")
    with serve_http(registry, 0) as url:
        assert read(f"{url}/health") == (404, "this program serves /metrics\n")


def test_a_client_that_says_nothing_or_garbage_keeps_nobody_waiting(registry: CollectorRegistry) -> None:
    with serve_http(registry, 0) as url:
        address = ("127.0.0.1", int(str(url).rpartition(":")[2]))
        clients = [socket.create_connection(address) for _ in range(20)]
        for client in clients[:10]:
            client.sendall(b"\xff\x00\r\n" * 100)
        assert read(f"{url}/metrics")[0] == 200
        for client in clients:
            client.close()


def test_an_event_loop_that_hangs_is_unhealthy(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has threads of its own: it answers while the loop hangs."""
    monkeypatch.setattr(process, "_STUCK_S", 0.4)
    monkeypatch.setattr(process, "_BEAT_S", 0.05)
    heart = LoopMonitor()

    def health() -> dict[str, Any]:
        return {"ok": heart.trouble() is None, "reason": heart.trouble()}

    async def run(url: str) -> tuple[int, asyncio.Task[tuple[int, str]]]:
        beats = asyncio.ensure_future(heart.beat())
        await asyncio.sleep(0.6)
        before = (await asyncio.to_thread(read, url))[0]
        asking = asyncio.ensure_future(asyncio.to_thread(ask_late, url))
        await asyncio.sleep(0.05)
        time.sleep(1.5)  # noqa: ASYNC251 - this is the fault
        await asking
        beats.cancel()
        return before, asking

    def ask_late(url: str) -> tuple[int, str]:
        time.sleep(0.9)
        return read(url)

    with serve_http(registry, 0, health=health) as url:
        before, asked = asyncio.run(run(f"{url}/health"))
    assert before == 200
    status, text = asked.result()
    assert status == 503
    assert "the event loop has been stuck for" in text


@pytest.mark.parametrize("command", [actuate, archive, produce, watch, worker])
def test_each_program_takes_address_and_port(command: object) -> None:
    parameters = inspect.signature(command).parameters  # type: ignore[arg-type]
    assert parameters["http_host"].default == "127.0.0.1"
    assert parameters["http_port"].default is None


def test_former_names_of_the_options_still_work_and_are_hidden() -> None:
    assert http_endpoint("127.0.0.1", None, None, 9465) == ("127.0.0.1", 9465)
    assert http_endpoint("127.0.0.1", None, "0.0.0.0", 9465) == ("0.0.0.0", 9465)
    assert http_endpoint("10.0.0.5", 1, "0.0.0.0", 2) == ("10.0.0.5", 1)
    for name in ("actuate", "archive", "produce"):
        text = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output
        assert "--http-port" in text
        assert "--metrics" not in text
