"""The end of a gateway with requests at hand that do not wait for a decision yet."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.claim_log import ClaimLog
from gateway.identity import keyed_frame_id
from gateway.line import GatewayLine
from gateway.settings import GatewaySettings
from schemas import KafkaSettings
from schemas.clock import SystemClock
from tests.support.gateways import PATIENCE_S, ask, make_tls, running_gateway, wait_until

pytestmark = pytest.mark.broker
_CONNECTIONS = 20

PATHS = {
    "/v1/inspections": "image/png",
    "/v1/inspections:batch": "application/x-ndjson",
    "/v1/models/inspection:predict": "application/json",
    "/v1/labels": "application/json",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_stop_answers_a_body_that_still_comes(
    line: KafkaSettings, image: bytes, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\nContent-Type: {PATHS[path]}\r\n"
    with running_gateway(line, stop_s=0.1) as gateway:
        address = urlsplit(gateway.url)
        connection = socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=PATIENCE_S)
        connection.sendall(f"{head}Content-Length: {len(image)}\r\n\r\n".encode() + image[:-1])
        wait_until(lambda: b"gateway_body_bytes 0.0" not in gateway.ask("GET", "/metrics").data)
    with connection:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        found = json.loads(answer.read())
    assert answer.status == 503
    assert "The gateway is stopping" in (found.get("title") or found["error"])
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "tls"])
def test_a_stop_answers_requests_of_connections_that_wait_to_be_accepted(
    line: KafkaSettings, tmp_path: Path, is_encrypted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop is busy when the stop comes, as it may be under load."""
    loops: list[asyncio.AbstractEventLoop] = []
    attach = GatewayLine.attach
    monkeypatch.setattr(GatewayLine, "attach", lambda self, loop: (loops.append(loop), attach(self, loop)))
    files, context = make_tls(tmp_path) if is_encrypted else ({}, None)

    def get(url: str) -> int:
        return ask(url, "GET", "/v1/decisions?part_id=P", context=context).status

    with running_gateway(line, context=context, **files) as gateway, ThreadPoolExecutor(_CONNECTIONS) as pool:
        [loop] = loops
        loop.call_soon_threadsafe(time.sleep, 1.0)
        asked = [pool.submit(get, gateway.url) for _ in range(_CONNECTIONS)]
        time.sleep(0.3)  # all are connected: the system does that
        gateway.stop.set()
        statuses = [each.result() for each in asked]
    assert set(statuses) <= {200, 503}
    assert 503 in statuses


def test_answers_of_a_stop_end_their_connections(line: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further request on the same connection would get a reset instead of an answer."""
    lines: list[GatewayLine] = []
    attach = GatewayLine.attach
    monkeypatch.setattr(GatewayLine, "attach", lambda self, loop: (lines.append(self), attach(self, loop)))
    with running_gateway(line) as gateway:
        connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=PATIENCE_S)
        before, after = [], []
        for found in (before, after):
            for path in ("/v1/decisions?part_id=P", "/health", "/v2/health/ready", "/none"):
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                found.append(answer.getheader("Connection"))
            lines[0].drain()
        connection.close()
    assert before == [None] * 4
    assert after == ["close"] * 4


def test_idle_connections_with_tls_do_not_hold_up_the_stop(line: KafkaSettings, tmp_path: Path) -> None:
    """An idle client does not read the end of TLS, so it does not answer it."""
    files, context = make_tls(tmp_path)
    with running_gateway(line, context=context, stop_s=PATIENCE_S, head_s=PATIENCE_S, **files) as gateway:
        address = urlsplit(gateway.url).netloc
        connection = http.client.HTTPSConnection(address, timeout=PATIENCE_S, context=context)
        connection.request("GET", "/health")
        assert connection.getresponse().read()
        began_s = time.monotonic()
    assert time.monotonic() - began_s < PATIENCE_S / 2
    connection.close()


def test_a_client_that_reads_no_answers_does_not_hold_up_the_stop(
    line: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    requests = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
    with running_gateway(line, stop_s=0.1, head_s=PATIENCE_S) as gateway:
        address = urlsplit(gateway.url)
        connection = socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=3.0)
        with contextlib.suppress(TimeoutError):
            while True:
                connection.sendall(requests)  # until the buffers of both sides are full
    connection.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_claim_that_the_end_of_the_gateway_cuts_off_is_released(line: KafkaSettings) -> None:
    cut_off, later = (keyed_frame_id("local", "http", key, "a" * 64) for key in ("cut-off", "later"))

    async def claim() -> bool:
        claims = ClaimLog(line, GatewaySettings(), asyncio.get_running_loop().call_soon_threadsafe, SystemClock())
        claims.open()
        try:
            until_s = time.monotonic() + PATIENCE_S
            taking = asyncio.create_task(claims.take(cut_off, None, until_s))
            await asyncio.sleep(0)  # it is written, and not read back
            taking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await taking
            assert await claims.take(later, None, until_s)  # all that was written before has been read
            return claims.has(cut_off)
        finally:
            claims.close()

    assert not asyncio.run(claim())
