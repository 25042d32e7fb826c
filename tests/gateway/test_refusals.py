"""Requests that are refused; every refusal is a problem of RFC 9457."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from gateway.clients import read_clients, token_hash
from gateway.problems import PROBLEMS, URN
from gateway.records import LONGEST_PERSON
from infra.broker import LocalBroker
from schemas import KafkaSettings
from schemas.errors import SettingsError
from tests.support.gateways import RunningGateway, form, running_gateway, wait_until
from tests.support.image_files import png
from transport.topic_setup import apply

TOKENS = f"""
clients:
  press-7:
    token_sha256: {token_hash("press token")}
    scopes: [inspect]
    stations: [press]
    key_required: true
  mes:
    token_sha256: {token_hash("mes token")}
    scopes: [read, label]
"""


@pytest.fixture(scope="module")
def kafka(broker: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> KafkaSettings:
    """Line without a worker."""
    found = KafkaSettings(broker.bootstrap_servers, tmp_path_factory.mktemp("refusals").name)
    apply(found)
    return found


@pytest.fixture(scope="module")
def gateway(kafka: KafkaSettings) -> Iterator[RunningGateway]:
    """Gateway of this machine, with small bounds."""
    with running_gateway(kafka, body_s=1.0, head_s=1.0, connections=20, body_mib=32) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Gateway with tokens."""
    path = tmp_path_factory.mktemp("tokens") / "tokens.yaml"
    path.write_text(TOKENS)
    with running_gateway(kafka, instance="guarded", tokens=path) as running:
        yield running


JSON = {"Content-Type": "application/json"}
JPEG = {"Content-Type": "image/jpeg"}
LOW = {**JPEG, "Prefer": "respond-async"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "name"),
    [
        ("POST", "/v1/inspections", b"", JPEG, "not-an-image"),
        ("POST", "/v1/inspections", b"GIF89a", JPEG, "not-an-image"),
        ("POST", "/v1/inspections", b"{}", {"Content-Type": "application/json"}, "not-an-image"),
        ("POST", "/v1/inspections", b"x", {**JPEG, "Content-Encoding": "gzip"}, "not-an-image"),
        ("POST", "/v1/inspections?partid=1", b"x", JPEG, "bad-request"),
        ("POST", "/v1/inspections?lot=1&lot=2", b"x", JPEG, "bad-request"),
        ("POST", "/v1/inspections?attributes=[]", b"x", JPEG, "bad-request"),
        ("POST", "/v1/inspections?deadline_ms=-1", b"x", JPEG, "bad-request"),
        ("POST", "/v1/inspections?deadline_ms=1e9", b"x", JPEG, "bad-request"),
        ("POST", "/v1/inspections", b"x", {**JPEG, "Prefer": "wait=soon"}, "bad-request"),
        ("POST", "/v1/inspections", b"x", {**JPEG, "Prefer": "wait=nan"}, "bad-request"),
        ("POST", "/v1/inspections", b"x", {**JPEG, "Prefer": "wait=0"}, "bad-request"),
        ("POST", "/v1/inspections", b"x", {**JPEG, "Idempotency-Key": ""}, "bad-request"),
        ("POST", "/v1/inspections", b"x", {**JPEG, "Idempotency-Key": "k" * 300}, "bad-request"),
        ("POST", "/v1/inspections", bytes(17 * 1024**2), JPEG, "too-large"),
        ("POST", "/v1/inspections", b"x", {"Content-Type": "multipart/form-data"}, "bad-request"),
        ("POST", "/v1/inspections:batch", b"", {"Content-Type": "application/x-ndjson"}, "bad-request"),
        ("POST", "/v1/inspections:batch", b"[]", {"Content-Type": "application/x-ndjson"}, "bad-request"),
        ("POST", "/v1/inspections:batch", b'{"image": "?"}', {"Content-Type": "application/x-ndjson"}, "bad-request"),
        ("POST", "/v1/labels", b"{", {"Content-Type": "application/json"}, "bad-request"),
        ("POST", "/v1/labels", b"{}", {"Content-Type": "application/json"}, "bad-request"),
        (
            "POST",
            "/v1/labels",
            b'{"truth": "OK", "part_id": "P1", "part_id": "P2", "station": "s", "camera_id": "c"}',
            {"Content-Type": "application/json"},
            "bad-request",
        ),
        (
            "POST",
            "/v1/labels",
            b'{"truth": "?", "part_id": "P", "station": "s", "camera_id": "c"}',
            {"Content-Type": "application/json"},
            "invalid-label",
        ),
        ("GET", "/v1/decisions", None, {}, "bad-request"),
        ("GET", "/v1/inspections/no-such-frame", None, {}, "unknown-inspection"),
        ("GET", "/v1/inspections/x?wait=-1", None, {}, "bad-request"),
        ("GET", "/v1/inspections", None, {}, "method-not-allowed"),
        ("TRACE", "/v1/inspections", None, {}, "method-not-allowed"),
        ("GET", "/v3", None, {}, "not-found"),
        ("GET", "/health/", None, {}, "not-found"),
        ("GET", "/health", None, {"Host": "evil.example"}, "forbidden"),
        ("GET", "http://evil.example/health", None, {"Host": "127.0.0.1"}, "forbidden"),
        ("GET", "http://user@127.0.0.1/health", None, {"Host": "127.0.0.1"}, "not-found"),
        ("GET", "http://127.0.0.1/v3", None, {}, "not-found"),
        ("POST", "/v1/inspections", b"x", {**JPEG, "Origin": "https://evil.example"}, "forbidden"),
        ("POST", "/v1/inspections", b"x", {**JPEG, "Origin": "null"}, "forbidden"),
    ],
)
def test_every_refusal_is_a_problem(
    gateway: RunningGateway, method: str, path: str, body: bytes | None, headers: dict[str, str], name: str
) -> None:
    answer = gateway.ask(method, path, body, **headers)
    assert answer.headers["content-type"] == "application/problem+json", answer.data
    assert (answer.json["type"], answer.status) == (URN + name, PROBLEMS[name][0]), answer.json
    assert answer.json["status"] == answer.status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ("allow" in answer.headers) == (answer.status == 405)


def test_a_target_in_absolute_form_is_a_path(gateway: RunningGateway) -> None:
    for path, word in (("/health", b"true"), ("", b"<html"), ("/v1/decisions?part_id=P%201", b"decisions")):
        answer = gateway.ask("GET", gateway.url.replace("http", "HTTP") + path, Host="evil.example")
        assert (answer.status, word in answer.data) == (200, True)


def test_too_many_pixels_are_refused_by_the_header(gateway: RunningGateway) -> None:
    large = png(np.zeros((1, 1), np.uint8), size_wh=(60_000, 60_000))
    answer = gateway.inspect(large)
    assert (answer.status, answer.json["type"]) == (422, URN + "image-unreadable")


def test_a_form_that_ends_early_is_refused(gateway: RunningGateway, image: bytes) -> None:
    body, kind = form(("file", image), ("lot", b"L7"))
    for cut in (3, 5, len(body) // 2, len(body) - 1):
        answer = gateway.ask("POST", "/v1/inspections", body[:-cut], Content_Type=kind)
        assert (answer.status, answer.json["type"]) == (400, URN + "bad-request")
    for parts in ([("lot", b"L7")], [("file", image), ("file", image)], [("file", image), ("lot", b"\xff")]):
        body, kind = form(*parts)
        assert gateway.ask("POST", "/v1/inspections", body, Content_Type=kind).status == 400


def test_a_body_that_does_not_come_is_not_waited_for(gateway: RunningGateway) -> None:
    address = urlsplit(gateway.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60) as slow:
        slow.sendall(b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n")
        slow.sendall(b"Content-Length: 1000\r\n\r\n\xff\xd8")
        answer = slow.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_head_that_does_not_come_ends_the_connection(gateway: RunningGateway) -> None:
    address = urlsplit(gateway.url)
    place = (str(address.hostname), int(address.port or 0))
    with socket.create_connection(place, timeout=60) as silent, socket.create_connection(place, timeout=60) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        for connection in (silent, slow):
            assert _is_closed(connection)


def test_a_head_that_is_too_large_is_refused(gateway: RunningGateway) -> None:
    """The parser measures a head that comes in parts; the connection ends then."""
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Part: " + b"a" * 40_000 + b"\r\n\r\n"
    address = urlsplit(gateway.url)
    for parts in ([head], [head[:35_000], head[35_000:]]):
        answer = b""
        with (
            socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60) as client,
            contextlib.suppress(ConnectionError),
        ):
            for part in parts:
                client.sendall(part)
                time.sleep(0.2)
            answer = client.recv(65536)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_idle_connections_do_not_keep_others_out(gateway: RunningGateway) -> None:
    address = urlsplit(gateway.url)
    idle = [socket.create_connection((str(address.hostname), int(address.port or 0))) for _ in range(60)]
    try:
        for _ in range(5):
            assert gateway.ask("GET", "/health").status == 200
    finally:
        for each in idle:
            each.close()


def test_a_client_that_speaks_no_http_gets_a_problem(gateway: RunningGateway) -> None:
    address = urlsplit(gateway.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60) as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        head, _, body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["type"] == URN + "bad-request"


def test_tokens_state_who_may_do_what(guarded: RunningGateway) -> None:
    press = {"Authorization": "Bearer press token", **LOW}
    mes = {"Authorization": "Bearer mes token"}
    keyed = {"Idempotency-Key": "k1", **press}

    def asked(method: str, path: str, body: bytes | None, **headers: str) -> tuple[int, str]:
        answer = guarded.ask(method, path, body, **headers)
        return answer.status, answer.json["type"].removeprefix(URN)

    assert asked("POST", "/v1/inspections", b"x", **JPEG) == (401, "unauthenticated")
    assert asked("POST", "/v1/inspections", b"x", **{**JPEG, "Authorization": "Bearer x"}) == (401, "unauthenticated")
    assert asked("POST", "/v1/inspections", b"x", **{**JPEG, "Authorization": "Basic eA=="}) == (401, "unauthenticated")
    assert "www-authenticate" in guarded.ask("POST", "/v1/inspections", b"x", **JPEG).headers
    assert asked("POST", "/v1/inspections", b"x", **mes, **JPEG) == (403, "forbidden")
    assert asked("POST", "/v1/inspections", b"x", **press) == (400, "key-missing")
    assert asked("POST", "/v1/inspections", b"x", **keyed) == (415, "not-an-image")
    assert asked("GET", "/v1/decisions?part_id=P", None, **press) == (403, "forbidden")
    assert guarded.ask("GET", "/v1/decisions?part_id=P", **mes).status == 200
    assert asked("GET", "/metrics", None) == (401, "unauthenticated")
    assert guarded.ask("GET", "/metrics", **mes).status == 200
    assert asked("GET", "/v1/inspections/http.other--guarded--0.1.00000000", None, **press) == (403, "forbidden")
    own = "/v1/inspections/http.press-7--guarded--0.1.00000000"
    assert asked("GET", own, None, **press) == (404, "unknown-inspection")
    assert guarded.ask("GET", "/health", Host="gateway.plant").status == 200


def test_a_person_has_room_beside_the_name_of_any_client(guarded: RunningGateway) -> None:
    label = {"truth": "good", "part_id": "P", "station": "s", "camera_id": "c"}
    for length, status in ((LONGEST_PERSON, 201), (LONGEST_PERSON + 1, 422)):
        body = json.dumps({**label, "labelled_by": "a" * length})
        headers = {"Authorization": "Bearer mes token", "Content_Type": "application/json"}
        answer = guarded.ask("POST", "/v1/labels", body, **headers)
        assert answer.status == status, answer.data
    assert answer.json["detail"] == "labelled_by: more than 459 characters"


def test_two_keys_are_refused_and_one_that_is_said_twice_counts(gateway: RunningGateway) -> None:
    """Check that two different keys are refused: the order of headers must not choose one."""
    for keys, word in ((("a", "b"), "several values"), (("a", "a"), "the first of")):
        connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=30)
        connection.putrequest("POST", "/v1/inspections")
        for name, value in (*JPEG.items(), ("Content-Length", "1"), *(("Idempotency-Key", key) for key in keys)):
            connection.putheader(name, value)
        connection.endheaders(b"x")
        answer = connection.getresponse()
        assert word in json.loads(answer.read())["detail"]
        connection.close()


def test_a_client_names_only_its_stations(guarded: RunningGateway, image: bytes) -> None:
    named = {"Authorization": "Bearer press token", "Idempotency-Key": "k2", "Content_Type": "image/png"}
    asynchronous = {**named, "Prefer": "respond-async"}
    refused = guarded.ask("POST", "/v1/inspections?station=other", image, **asynchronous)
    assert (refused.status, refused.json["type"]) == (403, URN + "forbidden")
    taken = guarded.ask("POST", "/v1/inspections?station=press", image, **asynchronous)
    assert taken.status == 202
    assert taken.json["frame_id"].startswith("http-key.press-7.")


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "clients: {}", "clients: {a: 1}", "clients: {a--b: {token_sha256: " + "0" * 64 + "}}",
        "clients: {a: {token_sha256: 1}}", "clients: {a: {token_sha256: " + "0" * 64 + ", scopes: [all]}}",
        "clients: {a: {token_sha256: " + "0" * 64 + ", more: 1}}", "clients: [", "\xff",
        "clients: {a: {token_sha256: " + "0" * 64 + ", key_required: !!bool maybe}}",
        "clients: {a: {token_sha256: " + "a" * 64 + "}, a: {token_sha256: " + "b" * 64 + "}}", "[" * 5000,
        "clients: {a: {token_sha256: " + "0" * 64 + "}, b: {token_sha256: " + "0" * 64 + "}}",
    ],
)  # fmt: skip
def test_a_file_of_tokens_with_a_mistake_is_refused(kafka: KafkaSettings, tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match="--tokens"), running_gateway(kafka, tokens=path):
        pass


def test_a_file_of_tokens_that_others_can_change_is_refused(tmp_path: Path) -> None:
    """Whoever can write it can give himself a token."""
    path, pipe = tmp_path / "tokens.yaml", tmp_path / "pipe"
    path.write_text("clients: {a: {token_sha256: " + "a" * 64 + "}}", encoding="utf-8")
    path.chmod(0o666)
    os.mkfifo(pipe)
    for refused in (path, pipe):
        with pytest.raises(SettingsError, match=r"others can write it|regular file"):
            read_clients(refused, "http")
    path.chmod(0o644)
    assert len(read_clients(path, "http")) == 1


def test_others_reach_a_gateway_with_tokens_only(kafka: KafkaSettings) -> None:
    with pytest.raises(SettingsError, match="--tokens"), running_gateway(kafka, host="0.0.0.0"):
        pass


def test_a_port_that_is_taken_is_named(gateway: RunningGateway, kafka: KafkaSettings) -> None:
    port = urlsplit(gateway.url).port
    with pytest.raises(SettingsError, match=f":{port}: another program"), running_gateway(kafka, port=port):
        pass


def test_a_gateway_states_its_health_and_its_interface(gateway: RunningGateway) -> None:
    wait_until(lambda: gateway.ask("GET", "/health").json == {"ok": True})
    assert gateway.ask("GET", "/ready").json == {"ok": True}
    page = gateway.ask("GET", "/")
    assert b"/v1/inspections:batch" in page.data
    assert b"<script" not in page.data
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    description = gateway.ask("GET", "/openapi.json").json
    assert description["openapi"] == "3.1.0"
    assert b"inspection_gateway_answers_total" in gateway.ask("GET", "/metrics").data


def test_stations_that_are_invented_do_not_pile_up(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that names each part as a station must not fill the memory, nor the watch with cameras."""
    monkeypatch.setattr("gateway.frame_publisher.MOST_CAMERAS", 3)
    image = png(np.zeros((8, 8), np.uint8))
    with running_gateway(kafka, instance="stations", cameras=1) as running:
        for number in (0, 1, 2, 1):
            assert running.inspect(image, f"?station=s{number}", Prefer="respond-async").status == 202
        refused = running.inspect(image, "?station=s3", Prefer="respond-async")
        assert (refused.status, refused.json["type"]) == (400, URN + "bad-request")
        assert "a station is a place on the line" in refused.json["detail"]
        assert "s3" not in running.ask("GET", "/metrics").data.decode()


def test_a_client_that_reads_no_answers_is_closed(gateway: RunningGateway) -> None:
    address = urlsplit(gateway.url)
    requests = itertools.repeat(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=30) as connection:
        sent = map(connection.sendall, requests)
        with pytest.raises(ConnectionError):
            any(sent)
