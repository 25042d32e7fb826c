"""Description of the interface as OpenAPI 3.1."""

from __future__ import annotations

import functools
from typing import Any

from gateway.avro_json import record_schema
from gateway.batch import MOST_IMAGES, NDJSON_TYPE
from gateway.image_request import FORM_TYPE, IMAGE_TYPES
from gateway.preferences import LONGEST_DEADLINE_MS
from gateway.problems import PROBLEMS, URN

_TEXT = {"type": "string", "maxLength": 500}
_PROBLEM_TYPE = "application/problem+json"
#: Statuses that any request may get.
_ALWAYS = (400, 401, 403, 404, 405, 500, 503)
_INSPECTION = (*_ALWAYS, 408, 409, 413, 415, 422, 429, 502, 504)


def _problem(status: int) -> dict[str, Any]:
    names = [name for name, (code, _) in PROBLEMS.items() if code == status]
    headers: dict[str, Any] = {}
    if status in (409, 429, 503):
        headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    if status == 405:
        headers["Allow"] = {"schema": {"type": "string"}}
    return {
        "description": "; ".join(f"`{name}`: {PROBLEMS[name][1]}" for name in names),
        "headers": headers,
        "content": {_PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _responses(good: dict[str, Any], statuses: tuple[int, ...]) -> dict[str, Any]:
    return {**good, **{str(status): _problem(status) for status in sorted(statuses)}}


def _json(description: str, schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"description": description, "content": {"application/json": {"schema": schema}}}
    return {**found, "headers": headers} if headers else found


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(name: str, where: str, schema: dict[str, Any], text: str, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": where, "required": required, "schema": schema, "description": text}


#: Content types of the parts of a form.
_ENCODING = {"file": {"contentType": ", ".join(IMAGE_TYPES)}, "attributes": {"contentType": "application/json"}}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    found = _parameter(name, "query", schema, schema["description"])
    if schema["type"] == "object":  # an object in a query is JSON text
        found["content"] = {"application/json": {"schema": found.pop("schema")}}
    return found


_WAIT = {"type": "number", "minimum": 0, "maximum": 60, "multipleOf": 0.001}
_LOCATION = {"Location": {"description": "Path of the inspection.", "schema": {"type": "string"}}}
_REQUEST_HEADERS = [
    _parameter(
        "Prefer", "header", {"type": "string", "examples": ["wait=0.5", "respond-async", "respond-async, wait=0.2"]},
        "RFC 7240: `wait=SECONDS` is the longest wait, and the deadline of the frame; `respond-async` answers 202 when "
        "there is no decision after the wait (0 if none is stated).",
    ),
    _parameter(
        "Idempotency-Key", "header", {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
        "The same key and image have the same answer, at every gateway of the line and after a restart.",
    ),
    _parameter(
        "X-Deadline-Ms", "header", {"type": "integer", "minimum": 1, "maximum": LONGEST_DEADLINE_MS},
        "Deadline in ms after the arrival of the request, as `deadline_ms`.",
    ),
]  # fmt: skip
_FIELDS: dict[str, Any] = {
    "part_id": {**_TEXT, "description": "Id of the part."},
    "lot": {**_TEXT, "description": "Lot of the part."},
    "station": {
        "type": "string", "pattern": "^[a-zA-Z0-9_-]{1,40}$",
        "description": "Station; the token of the client says which ones it may name.",
    },
    "attributes": {
        "type": "object", "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 100}, "propertyNames": {"maxLength": 100},
        "description": 'JSON object of texts, such as `{"shift": "2"}`; at most 16 KiB.',
    },
    "deadline_ms": {
        "type": "integer", "minimum": 1, "maximum": LONGEST_DEADLINE_MS,
        "description": "Deadline in ms after the arrival of the request. Workers do not inspect what is late.",
    },
}  # fmt: skip
_BINARY = {"type": "string", "format": "binary", "description": "The image: JPEG, PNG, TIFF or BMP."}


def _inspections() -> dict[str, Any]:
    query = [_query(name, schema) for name, schema in _FIELDS.items()]
    form = {
        "type": "object", "required": ["file"], "additionalProperties": False,
        "properties": {"file": _BINARY, **_FIELDS},
    }  # fmt: skip
    return {
        "post": {
            "operationId": "inspect",
            "summary": "Inspect an image",
            "parameters": [*_REQUEST_HEADERS, *query],
            "requestBody": {
                "required": True,
                "content": {
                    **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in IMAGE_TYPES},
                    FORM_TYPE: {"schema": form, "encoding": _ENCODING},
                },
            },
            "responses": _responses(
                {
                    "200": _json("The decision, in time.", _ref("Decision"), _LOCATION),
                    "202": _json("There is no decision yet.", _ref("Pending"), _LOCATION),
                },
                _INSPECTION,
            ),
        }
    }


def _inspection() -> dict[str, Any]:
    return {
        "get": {
            "operationId": "getInspection",
            "summary": "The decision on a frame of the last minutes",
            "parameters": [
                _parameter("frame_id", "path", {"type": "string", "minLength": 1}, "Id of the frame.", True),
                _parameter("wait", "query", _WAIT, "Longest wait for the decision, in seconds."),
            ],
            "responses": _responses(
                {
                    "200": _json("The decision.", _ref("Decision")),
                    "202": _json("There is no decision yet.", _ref("Pending"), _LOCATION),
                },
                (*_ALWAYS, 422, 429, 502, 504),
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
            "decision": _ref("Decision"),
            "problem": _ref("Problem"),
        },
    }
    listed = {"type": "array", "items": entry, "maxItems": MOST_IMAGES}
    files = {"type": "array", "items": _BINARY, "minItems": 1, "maxItems": MOST_IMAGES}
    form = {
        "type": "object", "required": ["file"], "additionalProperties": False,
        "properties": {"file": files, **_FIELDS},
    }  # fmt: skip
    return {
        "post": {
            "operationId": "inspectBatch",
            "summary": f"Inspect up to {MOST_IMAGES} images",
            "description": f"`{NDJSON_TYPE}` has an object in each line: `image` in base64, the fields of a single "
            "request, and `idempotency_key`. Each image has a status of its own in the answer.",
            "parameters": _REQUEST_HEADERS,
            "requestBody": {
                "required": True,
                "content": {
                    FORM_TYPE: {"schema": form, "encoding": _ENCODING},
                    NDJSON_TYPE: {"schema": {"type": "string"}},
                },
            },
            "responses": _responses(
                {
                    "200": _json(
                        "An entry for each image, in order.",
                        {"type": "object", "required": ["inspections"], "properties": {"inspections": listed}},
                    )
                },
                (*_ALWAYS, 408, 413, 415, 429, 504),
            ),
        }
    }


def _label(words: list[str], more: dict[str, Any]) -> dict[str, Any]:
    text = {**_TEXT, "minLength": 1}
    names = ("frame_id", "part_id", "station", "camera_id", "sampled_because", "labelled_by")
    return {
        "type": "object",
        "required": ["truth"],
        "anyOf": [{"required": ["frame_id"]}, {"required": ["part_id"]}],
        "dependentRequired": {"station": ["camera_id"], "camera_id": ["station"]},
        "additionalProperties": False,
        "properties": {
            "truth": {"type": "string", "enum": words},
            **dict.fromkeys(names, text),
            **more,
            "note": {"type": "string", "maxLength": 10_000},
            "labelled_at_us": {
                "type": "integer", "minimum": 0, "maximum": 2**62 - 1, "description": "UTC in µs; default: now.",
            },
        },
    }  # fmt: skip


def _labels() -> dict[str, Any]:
    defect = {"defect": {**_TEXT, "description": "Kind of the defect."}}
    label = {
        "oneOf": [
            _label(["good", "ok", "pass", "functional"], {}),
            _label(["defective", "bad", "nok", "not_ok", "ng", "fail"], defect),
        ]
    }
    return {
        "post": {
            "operationId": "label",
            "summary": "Publish the truth about a frame or a part",
            "requestBody": {"required": True, "content": {"application/json": {"schema": label}}},
            "responses": _responses(
                {"201": _json("The label, as published.", record_schema("label"))}, (*_ALWAYS, 408, 413, 415, 422)
            ),
        }
    }


def _decisions() -> dict[str, Any]:
    listed = {"type": "array", "items": _ref("Decision")}
    return {
        "get": {
            "operationId": "decisions",
            "summary": "The decisions of the last minutes on a part, of all cameras",
            "parameters": [_parameter("part_id", "query", {"type": "string", "minLength": 1}, "Id of the part.", True)],
            "responses": _responses(
                {
                    "200": _json(
                        "The decisions, oldest first.",
                        {"type": "object", "required": ["decisions"], "properties": {"decisions": listed}},
                    )
                },
                _ALWAYS,
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
                "200": _json("Yes.", report),
                "503": _json("No.", report),
                **{str(status): _problem(status) for status in (403, 405, 500)},
            },
        }
    }


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
    >>> openapi("1", False)["openapi"], sorted(openapi("1", False)["paths"])[-1]
    ('3.1.0', '/v1/labels')
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
            "decision": _ref("Decision"),
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
            "/health": _state("health", "Does the process work?"),
            "/ready": _state("ready", "Are requests taken?"),
        },
        "components": {
            "schemas": {"Decision": record_schema("decision"), "Problem": problem, "Pending": pending},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    if needs_token:
        found["security"] = [{"token": []}]
    return found
