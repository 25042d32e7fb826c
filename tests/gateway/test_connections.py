"""Ten thousand connections that send nothing: the gateway stays small, and others are served."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from schemas import KafkaSettings
from tests.support.gateways import GatewayProcess, ask

pytestmark = [pytest.mark.broker, pytest.mark.long]
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
