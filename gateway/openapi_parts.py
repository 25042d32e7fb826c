"""Parts of the OpenAPI description that all doors share."""

from __future__ import annotations

from typing import Any

from gateway.preferences import LONGEST_DEADLINE_MS
from gateway.problems import PROBLEMS

#: Statuses that a page without a token may get.
OPEN_PAGE = (403, 405, 500)
TEXT = {"type": "string", "maxLength": 500}
_PROBLEM_TYPE = "application/problem+json"
#: A white PNG of one pixel in base64, for examples.
PNG_EXAMPLE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
#: Statuses that any request may get.
ALWAYS = (400, 401, 403, 404, 405, 500, 503)
INSPECTION = (*ALWAYS, 408, 409, 413, 415, 422, 429, 502, 504)


def problem_answer(status: int, *, foreign: bool = False) -> dict[str, Any]:
    """Return the description of a status that is not a success.

    Parameters
    ----------
    foreign
        True for the paths of other servers, whose errors are ``{"error": "..."}``.
    """
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
        "content": {"application/json": {"schema": ref("Error")}}
        if foreign
        else {_PROBLEM_TYPE: {"schema": ref("Problem")}},
    }


def responses(good: dict[str, Any], statuses: tuple[int, ...], *, foreign: bool = False) -> dict[str, Any]:
    """Return the answers of an operation: those that are a success, and these statuses."""
    return {**good, **{str(status): problem_answer(status, foreign=foreign) for status in sorted(statuses)}}


def json_answer(description: str, schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the description of an answer in JSON."""
    found: dict[str, Any] = {"description": description, "content": {"application/json": {"schema": schema}}}
    return {**found, "headers": headers} if headers else found


def body_kind(schema: dict[str, Any], **examples: Any) -> dict[str, Any]:
    """Return the description of a body of one content type, with examples by name.

    A gateway whose model takes the image answers each example with a success.

    Examples
    --------
    >>> body_kind({"type": "string"}, short="ok")
    {'schema': {'type': 'string'}, 'examples': {'short': {'value': 'ok'}}}
    """
    return {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}


def ref(name: str) -> dict[str, Any]:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def parameter(name: str, where: str, schema: dict[str, Any], text: str, required: bool = False) -> dict[str, Any]:
    """Return the description of a parameter."""
    return {"name": name, "in": where, "required": required, "schema": schema, "description": text}


def query_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a field in the query."""
    found = parameter(name, "query", schema, schema["description"])
    if schema["type"] == "object":  # an object in a query is JSON text
        found["content"] = {"application/json": {"schema": found.pop("schema")}}
    return found


WAIT = {"type": "number", "minimum": 0, "maximum": 60, "multipleOf": 0.001}
LOCATION = {"Location": {"description": "Path of the inspection.", "schema": {"type": "string"}}}
REQUEST_HEADERS = [
    parameter(
        "Prefer", "header", {"type": "string", "examples": ["wait=0.5", "respond-async", "respond-async, wait=0.2"]},
        "RFC 7240: `wait=SECONDS` is the longest wait, and the deadline of the frame; `respond-async` answers 202 when "
        "there is no decision after the wait (0 if none is stated).",
    ),
    parameter(
        "Idempotency-Key", "header", {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
        "The same key and image have the same answer, at every gateway of the line and after a restart.",
    ),
    parameter(
        "X-Deadline-Ms", "header", {"type": "integer", "minimum": 1, "maximum": LONGEST_DEADLINE_MS},
        "Deadline in ms after the arrival of the request, as `deadline_ms`.",
    ),
]  # fmt: skip
FIELDS: dict[str, Any] = {
    "part_id": {**TEXT, "description": "Id of the part."},
    "lot": {**TEXT, "description": "Lot of the part."},
    "station": {
        "type": "string", "pattern": "^[a-zA-Z0-9_-]{1,40}$",
        "description": "Station; the token of the client says which ones it may name.",
    },
    "attributes": {
        "type": "object", "maxProperties": 64,
        "additionalProperties": {"type": "string"},
        "description": 'JSON object of texts, such as `{"shift": "2"}`; at most 16,384 characters together.',
    },
    "deadline_ms": {
        "type": "integer", "minimum": 1, "maximum": LONGEST_DEADLINE_MS,
        "description": "Deadline in ms after the arrival of the request. Workers do not inspect what is late.",
    },
}  # fmt: skip
BINARY = {"type": "string", "format": "binary", "description": "The image: JPEG, PNG, TIFF or BMP."}
