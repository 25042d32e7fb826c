"""Connections that send nothing: the gateway stays small, and others are served."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from schemas import KafkaSettings
from tests.support.gateways import GatewayProcess, ask, make_tls, running_gateway

pytestmark = [pytest.mark.broker, pytest.mark.long]
#: Usual soft limit of open files, and a number of connections beyond it.
USUAL_FILES, BEYOND = 1024, 1200
#: Largest log of a gateway with too many connections, in bytes.
LOG_BYTES = 1_000_000
CONNECTIONS = 10_000
#: Growth of the process, in bytes: about 20 kB for each of the 1,000 connections that it keeps.
GROWTH_BYTES = 100 * 1024 * 1024


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process, and the gateway that it starts, open enough files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CONNECTIONS + 500:
        pytest.skip(f"this user may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (CONNECTIONS + 500, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_connections_cost_little(line: KafkaSettings, tmp_path: Path, many_files: None) -> None:
    with GatewayProcess(line, tmp_path / "log") as gateway, contextlib.ExitStack() as opened:
        gateway.await_ready()
        address = urlsplit(gateway.url)
        process = psutil.Process(gateway.process.pid)
        before = process.memory_info().rss
        for number in range(CONNECTIONS):
            opened.enter_context(socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60))
            if number % 1000 == 0:
                assert ask(gateway.url, "GET", "/health").status == 200
        assert ask(gateway.url, "GET", "/health").status == 200
        assert process.memory_info().rss - before < GROWTH_BYTES
        assert len(process.net_connections("tcp")) < 1_200


@pytest.mark.parametrize("is_hard", [False, True], ids=["soft limit", "hard limit"])
@pytest.mark.parametrize("has_tls", [False, True], ids=["plain", "tls"])
def test_idle_connections_within_the_usual_limit_of_files(
    line: KafkaSettings, tmp_path: Path, many_files: None, has_tls: bool, is_hard: bool
) -> None:
    """A client that does not begin its TLS handshake counts as any other."""
    files, context = make_tls(tmp_path) if has_tls else ({}, None)
    options = [word for name, path in files.items() for word in (f"--{name.replace('_', '-')}", str(path))]
    hard = USUAL_FILES if is_hard else resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with GatewayProcess(line, tmp_path / "log", *options, open_files=(USUAL_FILES, hard)) as gateway:
        check_idle(gateway, tmp_path / "log", context)
        process = psutil.Process(gateway.process.pid)
        assert len(process.net_connections("tcp")) < (800 if is_hard else 1_100)
    text = (tmp_path / "log").read_text()
    assert ("the limit of open files has room for 768 connections instead of 1000" in text) == is_hard


def test_a_gateway_that_can_open_no_file_closes_idle_connections(
    line: KafkaSettings, tmp_path: Path, many_files: None
) -> None:
    with GatewayProcess(line, tmp_path / "log") as gateway:
        gateway.await_ready()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (USUAL_FILES, hard))
        check_idle(gateway, tmp_path / "log", None)
    assert "a connection cannot be accepted: Too many open files" in (tmp_path / "log").read_text()


def check_idle(gateway: GatewayProcess, log: Path, context: ssl.SSLContext | None) -> None:
    """Open connections that stay idle; check that others are served, and that the log stays small."""
    address = urlsplit(gateway.url)
    assert ask(gateway.url, "GET", "/health", context=context).status == 200
    with contextlib.ExitStack() as opened:
        for _ in range(BEYOND):
            opened.enter_context(socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60))
        for _ in range(3):
            assert ask(gateway.url, "GET", "/health", timeout_s=5, context=context).status == 200
    assert log.stat().st_size < LOG_BYTES


def test_a_tls_handshake_that_does_not_come_ends_the_connection(line: KafkaSettings, tmp_path: Path) -> None:
    files, context = make_tls(tmp_path)
    with running_gateway(line, context=context, head_s=1.0, **files) as gateway:
        address = urlsplit(gateway.url)
        silent = socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=30)
        with silent, contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""


def test_clients_that_do_not_answer_the_end_of_tls_keep_nobody_out(line: KafkaSettings, tmp_path: Path) -> None:
    files, context = make_tls(tmp_path)
    few = 5
    with running_gateway(line, context=context, connections=few, **files) as gateway, contextlib.ExitStack() as opened:
        address = urlsplit(gateway.url)
        for _ in range(few):
            plain = socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=30)
            client = opened.enter_context(context.wrap_socket(plain, server_hostname=address.hostname))
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert ask(gateway.url, "GET", "/health", timeout_s=5, context=context).status == 200
