"""Description of the interface as OpenAPI 3.1."""

from __future__ import annotations

import functools
import json
from typing import Any

from gateway.avro_json import record_schema
from gateway.batch import MOST_IMAGES, NDJSON_TYPE
from gateway.foreign.description import foreign_paths, foreign_schemas
from gateway.image_request import FORM_TYPE, IMAGE_TYPES
from gateway.openapi_parts import (
    ALWAYS,
    BINARY,
    FIELDS,
    INSPECTION,
    LOCATION,
    OPEN_PAGE,
    PNG_EXAMPLE,
    REQUEST_HEADERS,
    TEXT,
    WAIT,
    body_kind,
    json_answer,
    parameter,
    problem_answer,
    query_parameter,
    ref,
    responses,
)
from gateway.openapi_samples import samples
from gateway.problems import PROBLEMS, URN
from gateway.records import LONGEST_PERSON
from schemas.part_ids import part_id_pattern

#: Content types of the parts of a form.
_ENCODING = {"file": {"contentType": ", ".join(IMAGE_TYPES)}, "attributes": {"contentType": "application/json"}}


def _query() -> list[dict[str, Any]]:
    return [query_parameter(name, schema) for name, schema in FIELDS.items()]


def _inspections() -> dict[str, Any]:
    form = {
        "type": "object", "required": ["file"], "additionalProperties": False,
        "properties": {"file": BINARY, **FIELDS},
    }  # fmt: skip
    return {
        "post": {
            "operationId": "inspect",
            "summary": "Inspect an image",
            "parameters": [*REQUEST_HEADERS, *_query()],
            "requestBody": {
                "required": True,
                "content": {
                    **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in IMAGE_TYPES},
                    FORM_TYPE: {"schema": form, "encoding": _ENCODING},
                },
            },
            "responses": responses(
                {
                    "200": json_answer("The decision, in time.", ref("Decision"), LOCATION),
                    "202": json_answer("There is no decision yet.", ref("Pending"), LOCATION),
                },
                INSPECTION,
            ),
        }
    }


def _inspection() -> dict[str, Any]:
    return {
        "get": {
            "operationId": "getInspection",
            "summary": "The decision on a frame of the last minutes",
            "parameters": [
                parameter("frame_id", "path", {"type": "string", "minLength": 1}, "Id of the frame.", True),
                parameter("wait", "query", WAIT, "Longest wait for the decision, in seconds."),
            ],
            "responses": responses(
                {
                    "200": json_answer("The decision.", ref("Decision")),
                    "202": json_answer("There is no decision yet.", ref("Pending"), LOCATION),
                },
                (*ALWAYS, 422, 429, 502, 504),
            ),
        }
    }


def _batch() -> dict[str, Any]:
    entry = {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"type": "integer"},
            "frame_id": {"type": ["string", "null"]},
            "location": {"type": "string"},
            "decision": ref("Decision"),
            "problem": ref("Problem"),
        },
    }
    listed = {"type": "array", "items": entry, "maxItems": MOST_IMAGES}
    lines = (json.dumps({"image": PNG_EXAMPLE, "part_id": part}) + "\n" for part in ("P-77", "P-78"))
    files = {"type": "array", "items": BINARY, "minItems": 1, "maxItems": MOST_IMAGES}
    form = {
        "type": "object", "required": ["file"], "additionalProperties": False,
        "properties": {"file": files, **FIELDS},
    }  # fmt: skip
    return {
        "post": {
            "operationId": "inspectBatch",
            "summary": f"Inspect up to {MOST_IMAGES} images",
            "description": f"`{NDJSON_TYPE}` has an object in each line: `image` in base64, the fields of a single "
            "request, and `idempotency_key`. Fields of the query, and the header `Idempotency-Key`, count for each "
            "image without its own. Each image has a status of its own in the answer.",
            "parameters": [*REQUEST_HEADERS, *_query()],
            "requestBody": {
                "required": True,
                "content": {
                    FORM_TYPE: {"schema": form, "encoding": _ENCODING},
                    NDJSON_TYPE: body_kind({"type": "string"}, two_images="".join(lines)),
                },
            },
            "responses": responses(
                {
                    "200": json_answer(
                        "An entry for each image, in order.",
                        {"type": "object", "required": ["inspections"], "properties": {"inspections": listed}},
                    )
                },
                (*ALWAYS, 408, 413, 415, 429, 504),
            ),
        }
    }


def _label(words: list[str], more: dict[str, Any]) -> dict[str, Any]:
    text = {**TEXT, "minLength": 1}
    names = ("frame_id", "part_id", "station", "camera_id", "sampled_because")
    return {
        "type": "object",
        "required": ["truth"],
        "anyOf": [
            {"required": ["frame_id"]},
            {"required": ["part_id"], "properties": {"part_id": {"pattern": part_id_pattern()}}},
        ],
        "dependentRequired": {"station": ["camera_id"], "camera_id": ["station"]},
        "additionalProperties": False,
        "properties": {
            "truth": {"type": "string", "enum": words},
            **dict.fromkeys(names, text),
            "labelled_by": {**text, "maxLength": LONGEST_PERSON, "description": "Person or test."},
            **more,
            "note": {"type": "string", "maxLength": 10_000},
            "labelled_at_us": {
                "type": "integer", "minimum": 0, "maximum": 2**62 - 1, "description": "UTC in µs; default: now.",
            },
        },
    }  # fmt: skip


def _labels() -> dict[str, Any]:
    defect = {"defect": {**TEXT, "description": "Kind of the defect."}}
    label = {
        "oneOf": [
            _label(["good", "ok", "pass", "functional"], {}),
            _label(["defective", "bad", "nok", "not_ok", "ng", "fail"], defect),
        ]
    }
    good = {"truth": "good", "part_id": "P-77", "station": "press", "camera_id": "top", "labelled_by": "ann"}
    defective = {"truth": "defective", "frame_id": "press.top.60a24181e4000.00000012", "defect": "crack"}
    return {
        "post": {
            "operationId": "label",
            "summary": "Publish the truth about a frame or a part",
            "requestBody": {
                "required": True,
                "content": {"application/json": body_kind(label, good_part=good, defective_frame=defective)},
            },
            "responses": responses(
                {"201": json_answer("The label, as published.", record_schema("label"))}, (*ALWAYS, 408, 413, 415, 422)
            ),
        }
    }


def _decisions() -> dict[str, Any]:
    listed = {"type": "array", "items": ref("Decision")}
    return {
        "get": {
            "operationId": "decisions",
            "summary": "The decisions of the last minutes on a part, of all cameras",
            "parameters": [
                parameter("part_id", "query", {"type": "string", "pattern": part_id_pattern()}, "Id of the part.", True)
            ],
            "responses": responses(
                {
                    "200": json_answer(
                        "The decisions, oldest first.",
                        {"type": "object", "required": ["decisions"], "properties": {"decisions": listed}},
                    )
                },
                ALWAYS,
            ),
        }
    }


def _state(operation: str, summary: str) -> dict[str, Any]:
    report = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "security": [],
            "responses": {
                "200": json_answer("Yes.", report),
                "503": json_answer("No.", report),
                **{str(status): problem_answer(status) for status in OPEN_PAGE},
            },
        }
    }


def _page(operation: str, summary: str, kind: str, schema: dict[str, Any], statuses: tuple[int, ...]) -> dict[str, Any]:
    found = {
        "operationId": operation,
        "summary": summary,
        "responses": responses({"200": {"description": "The page.", "content": {kind: {"schema": schema}}}}, statuses),
    }
    return {"get": {**found, "security": []} if 401 not in statuses else found}


@functools.cache
def openapi(version: str, needs_token: bool) -> dict[str, Any]:
    """Return the description.

    Parameters
    ----------
    version
        Version of the interface.
    needs_token
        True if requests need a token.

    Examples
    --------
    >>> openapi("1", False)["openapi"], sorted(openapi("1", False)["paths"])[3]
    ('3.1.0', '/openapi.json')
    """
    problem = {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": [URN + name for name in PROBLEMS]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string", "description": "Id of the frame."},
            "decision": ref("Decision"),
        },
    }
    pending = {
        "type": "object",
        "required": ["frame_id", "status"],
        "properties": {"frame_id": {"type": "string"}, "status": {"const": "pending"}},
    }
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Streaming Inspection",
            "version": version,
            "description": "An image in, a decision out. The frame and the decision are on the line's topics, too. "
            "For the clients of other servers: Open Inference Protocol at /v2, TensorFlow Serving's REST at "
            "/v1/models/inspection.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/v1/inspections": _inspections(),
            "/v1/inspections/{frame_id}": _inspection(),
            "/v1/inspections:batch": _batch(),
            "/v1/labels": _labels(),
            "/v1/decisions": _decisions(),
            **foreign_paths(),
            "/health": _state("health", "Does the process work?"),
            "/ready": _state("ready", "Are requests taken?"),
            "/metrics": _page("metrics", "Metrics for Prometheus", "text/plain", {"type": "string"}, (*OPEN_PAGE, 401)),
            "/openapi.json": _page(
                "description", "This description", "application/json", {"type": "object"}, OPEN_PAGE
            ),
            "/": _page("page", "This description, for people", "text/html", {"type": "string"}, OPEN_PAGE),
        },
        "components": {
            "schemas": {
                "Decision": record_schema("decision"),
                "Problem": problem,
                "Pending": pending,
                **foreign_schemas(),
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    for path, methods in found["paths"].items():
        for operation in methods.values():
            commands = samples(operation["operationId"], path, needs_token)
            if commands:
                operation["x-codeSamples"] = commands
    if needs_token:
        found["security"] = [{"token": []}]
    return found
