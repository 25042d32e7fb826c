"""The OpenAPI document: it has every route, and its examples are answered as it says."""

from __future__ import annotations

import html
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from starlette.applications import Starlette

from gateway.app import make_app
from gateway.clients import Clients
from gateway.door import Door
from gateway.image_request import IMAGE_TYPES
from gateway.line import GatewayLine
from gateway.metrics import GatewayMetrics
from gateway.openapi import openapi
from gateway.openapi_samples import ADDRESS
from gateway.page import page
from gateway.problems import is_foreign
from gateway.settings import GatewaySettings
from schemas import KafkaSettings
from tests.support.gateways import Served, wait_until


@pytest.mark.broker
def test_the_document_has_each_route_and_no_other(line: KafkaSettings) -> None:
    metrics = GatewayMetrics()
    gateway = GatewayLine(line, GatewaySettings(instance="pc4"), Clients(), metrics.publishers)
    try:
        door = make_app(gateway, metrics)
    finally:
        gateway.close()
    assert isinstance(door, Door)
    assert isinstance(door.app, Starlette)
    served = {(route.path, method) for route in door.app.routes for method in route.methods if method != "HEAD"}  # type: ignore[attr-defined]
    assert served == {(path, method.upper()) for path, each in openapi("1", False)["paths"].items() for method in each}


@pytest.mark.parametrize("needs_token", [True, False])
def test_the_document_is_valid_and_complete(needs_token: bool) -> None:
    document = openapi("1", needs_token)
    validate(document)
    operations = [(path, operation) for path, methods in document["paths"].items() for operation in methods.values()]
    names = [operation["operationId"] for _, operation in operations]
    assert len(names) == len(set(names))
    for path, operation in operations:
        statuses = set(operation["responses"])
        assert {"200", "201"} & statuses, path
        assert {"403", "405", "500"} <= statuses, path
        if operation.get("security") != []:
            assert "401" in statuses, path
        if "requestBody" in operation:
            assert {"400", "408", "413", "415", "429", "503"} - statuses <= {"429"}, path
        kinds = {kind for answer in operation["responses"].values() for kind in answer["content"]}
        assert ("application/problem+json" in kinds) != is_foreign(path), path


def schema_of(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def requests_of(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], str | None, str | None]]:
    """Return method, path, operation, content type and body of each request without a body, and of each example."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method == "get" and "{" not in path:
                yield "GET", path, operation, None, None
            for kind, body in operation.get("requestBody", {}).get("content", {}).items():
                for example in body.get("examples", {}).values():
                    value = example["value"]
                    schema_of(document, body["schema"]).validate(value)
                    yield "POST", path, operation, kind, value if isinstance(value, str) else json.dumps(value)


@pytest.mark.broker
def test_examples_and_their_answers_are_as_described(served: Served) -> None:
    wait_until(lambda: served.gateway.ask("GET", "/ready").status == 200)
    document = served.gateway.ask("GET", "/openapi.json").json
    tried = set()
    for method, path, operation, kind, body in requests_of(document):
        query = "?part_id=P-1" if path == "/v1/decisions" else ""
        headers = {"Content_Type": kind} if kind else {}
        answer = served.gateway.ask(method, path + query, body, **headers)
        assert answer.status in (200, 201), (path, body, answer.data)
        described = operation["responses"][str(answer.status)]["content"]
        kind = answer.headers["content-type"].partition(";")[0]
        if kind.endswith("json"):
            schema_of(document, described[kind]["schema"]).validate(answer.json)
        else:
            assert kind in described
        if path == "/v1/inspections:batch":
            assert {entry["status"] for entry in answer.json["inspections"]} == {200}, answer.json
        tried.add(path)
    # A file is not an example in JSON, and the id of a frame is not known before.
    assert set(document["paths"]) - tried == {"/v1/inspections", "/v1/inspections/{frame_id}"}


def test_each_kind_of_body_has_an_example_or_a_command() -> None:
    for path, methods in openapi("1", False)["paths"].items():
        for operation in methods.values():
            commands = " ".join(each["source"] + each["label"] for each in operation.get("x-codeSamples", ()))
            for kind, body in operation.get("requestBody", {}).get("content", {}).items():
                named = "image/jpeg" if path == "/v1/inspections" and kind in IMAGE_TYPES else kind
                assert "examples" in body or named in commands, path


@pytest.mark.broker
def test_commands_are_answered_as_described(served: Served, tmp_path: Path) -> None:
    """Run each command as a person does who copies it from the page, in a folder with images."""
    gray = np.random.default_rng(0).integers(0, 255, (120, 160)).astype(np.uint8)
    for name in ("part.jpg", "P-77.jpg", "P-78.jpg"):
        (tmp_path / name).write_bytes(simplejpeg.encode_jpeg(gray[..., None], colorspace="GRAY"))
    wait_until(lambda: served.gateway.ask("GET", "/ready").status == 200)
    document = served.gateway.ask("GET", "/openapi.json").json
    shown = html.unescape(served.gateway.ask("GET", "/").data.decode())
    ran = 0
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for sample in operation.get("x-codeSamples", ()):
                source = sample["source"].replace(ADDRESS, served.gateway.url)
                assert source in shown
                done = subprocess.run(["sh", "-c", source], cwd=tmp_path, capture_output=True, timeout=120, check=False)
                assert done.returncode == 0, (source, done.stderr)
                answer = json.loads(done.stdout)
                described = next(each for status, each in operation["responses"].items() if status in ("200", "201"))
                schema_of(document, described["content"]["application/json"]["schema"]).validate(answer)
                if path == "/v1/inspections:batch":
                    assert [entry["status"] for entry in answer["inspections"]] == [200, 200]
                ran += 1
    assert ran >= 12


def test_commands_send_the_token_if_one_is_needed() -> None:
    for operation in (each for methods in openapi("1", True)["paths"].values() for each in methods.values()):
        for sample in operation.get("x-codeSamples", ()):
            assert "Authorization: Bearer $TOKEN" in sample["source"]
    for needs_token in (True, False):
        assert ("<code>TOKEN</code>" in page(openapi("1", needs_token), "http://pc4")) is needs_token
