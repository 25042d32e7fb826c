"""Clients that hang up, that send no body, or that fill the memory: others are served."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from gateway.bodies import BodyMemory
from gateway.clients import token_hash
from gateway.load import Load
from gateway.presence import Presence
from gateway.problems import Problem
from infra.broker import LocalBroker
from schemas import KafkaSettings
from tests.support.gateways import RunningGateway, form, running_gateway, wait_until
from transport.topic_setup import apply

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def kafka(broker: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> KafkaSettings:
    """Line without a worker."""
    found = KafkaSettings(broker.bootstrap_servers, tmp_path_factory.mktemp("hang-ups").name)
    apply(found)
    return found


@pytest.fixture(scope="module")
def narrow(kafka: KafkaSettings) -> Iterator[RunningGateway]:
    """Gateway with two places."""
    with running_gateway(kafka, instance="narrow", waiting=2, worker_silent_s=1000.0) as running:
        yield running


def test_a_wait_that_begins_after_the_hang_up_ends_at_once() -> None:
    """The images of a batch do not begin to wait at the same time."""

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def waits() -> None:
        presence = Presence(gone)
        first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
        with presence.ends(first):
            with pytest.raises(ClientDisconnect):
                await asyncio.wait_for(first, 5)
            with presence.ends(second), pytest.raises(ClientDisconnect):
                await asyncio.wait_for(second, 5)

    asyncio.run(waits())


def _post(path: str, body: bytes, content_type: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _single(image: bytes) -> bytes:
    return _post("/v1/inspections", image, "image/png")


def _with_key(image: bytes) -> bytes:
    return _single(image).replace(b"Prefer", b"Idempotency-Key: left-alone\r\nPrefer", 1)


def _batch(image: bytes) -> bytes:
    return _post("/v1/inspections:batch", *form(("file", image), ("file", image)))


def _predict(image: bytes) -> bytes:
    body = json.dumps({"instances": [{"b64": base64.b64encode(image).decode()}]}).encode()
    return _post("/v1/models/inspection:predict", body, "application/json")


def _long_poll(_image: bytes) -> bytes:
    return b"GET /v1/inspections/press.top.1.00000000?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _connect(gateway: RunningGateway, request: bytes) -> socket.socket:
    host, _, port = urlsplit(gateway.url).netloc.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(request)
    return connection


def _at_hand(gateway: RunningGateway) -> int:
    text = gateway.ask("GET", "/metrics").data.decode()
    return int(float(next(line.split()[1] for line in text.splitlines() if line.startswith("inspection_gateway_wait"))))


@pytest.mark.broker
@pytest.mark.parametrize("request_of", [_single, _with_key, _batch, _predict, _long_poll])
def test_who_hangs_up_gives_its_place_back(
    narrow: RunningGateway, image: bytes, request_of: Callable[[bytes], bytes]
) -> None:
    with _connect(narrow, request_of(image)):
        wait_until(lambda: _at_hand(narrow))
    wait_until(lambda: not _at_hand(narrow))
    assert narrow.inspect(image, Prefer="wait=0.2").status == 504  # it was taken, and there is no worker


@pytest.mark.broker
def test_a_body_that_is_only_announced_takes_no_memory(kafka: KafkaSettings, image: bytes) -> None:
    head = f"Content-Length: {128 * MIB}\r\nPrefer: wait=60\r\nContent-Type: application/json\r\n\r\n"
    paths = ("/v1/inspections:batch", "/v1/models/inspection:predict", "/v2/models/inspection/infer")
    kinds = ("application/x-ndjson", "application/json", "application/json")
    with running_gateway(kafka, instance="wide") as gateway, ExitStack() as stack:
        for path, kind in zip(paths, kinds, strict=True):
            request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head.replace('application/json', kind)}"
            stack.enter_context(_connect(gateway, request.encode()))
        assert gateway.inspect(image, Prefer="wait=0.2").status == 504


def _batch_head(token: str, mib: int) -> bytes:
    return (
        f"POST /v1/inspections:batch HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {mib * MIB}\r\nPrefer: wait=60\r\nContent-Type: application/x-ndjson\r\n\r\n"
    ).encode()


@pytest.mark.broker
def test_a_client_leaves_memory_to_others(kafka: KafkaSettings, tmp_path: Path, image: bytes) -> None:
    tokens = tmp_path / "tokens.yaml"
    entries = (f"  {name}:\n    token_sha256: {token_hash(name)}\n    scopes: [inspect]\n" for name in ("a", "b"))
    tokens.write_text(f"clients:\n{''.join(entries)}")
    settings = {"body_mib": 8, "largest_image_mib": 1, "tokens": tokens, "instance": "shared"}
    with running_gateway(kafka, **settings) as gateway, ExitStack() as stack:
        stack.enter_context(_connect(gateway, _batch_head("a", 3) + b"x" * (3 * MIB - 1)))

        def is_over_quota() -> bool:
            with _connect(gateway, _batch_head("a", 2)) as connection:
                connection.settimeout(4)  # a refusal waits 2 s for the body
                try:
                    return b" 429 " in connection.recv(100)
                except TimeoutError:
                    return False  # it waits for the body

        wait_until(is_over_quota)
        kind = {"Content_Type": "application/x-ndjson"}
        answer = gateway.ask("POST", "/v1/inspections:batch", b"x" * 2 * MIB, Authorization="Bearer b", **kind)
        assert answer.status == 400  # it was read, and is no batch
        assert gateway.inspect(image, Authorization="Bearer b", Prefer="wait=0.2").status == 504


def test_what_does_not_fit_ever_is_refused_for_good() -> None:
    load = Load(64, 32, 5.0, 600.0, lambda: 0.0)
    with load.admit("press-7") as places:
        with pytest.raises(Problem) as refused:
            places.extend(33)
        assert (refused.value.name, load.at_hand) == ("bad-request", 1)
        places.extend(32)
        assert load.at_hand == 32
        with pytest.raises(Problem) as refused, load.admit("press-7"):
            pass
        assert refused.value.name == "quota"
    assert load.at_hand == 0


def test_memory_comes_back() -> None:
    memory = BodyMemory(100, 60)
    memory.take("a", 60)
    with pytest.raises(Problem) as refused:
        memory.take("a", 1)
    assert refused.value.name == "quota"
    memory.take("b", 40)
    with pytest.raises(Problem) as refused:
        memory.take("b", 1)
    assert refused.value.name == "overloaded"
    memory.release("a", 60)
    memory.take("b", 20)
    assert memory.used_bytes == 60
