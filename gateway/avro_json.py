"""JSON Schema of a record, from its Avro schema."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

_PRIMITIVES: dict[str, dict[str, Any]] = {
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer"},
    # NaN and infinities of a record are null in JSON.
    "float": {"type": ["number", "null"]},
    "double": {"type": ["number", "null"]},
    "bytes": {"type": "string"},
    "string": {"type": "string"},
    "null": {"type": "null"},
}


def record_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a record that ships.

    Parameters
    ----------
    name
        Name of the file without its ending, such as ``decision``.

    Examples
    --------
    >>> record_schema("decision")["properties"]["verdict"]["enum"]
    ['OK', 'NOT_OK', 'NOT_DECIDABLE']
    """
    text = files("schemas").joinpath("avro", f"{name}.avsc").read_text(encoding="utf-8")
    return _schema(json.loads(text), {})


def _schema(avro: Any, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if isinstance(avro, list):
        return _union([_schema(branch, known) for branch in avro])
    if isinstance(avro, str):
        return dict(_PRIMITIVES[avro]) if avro in _PRIMITIVES else known[avro]
    kind = avro["type"]
    if kind == "record":
        properties = {field["name"]: _field(field, known) for field in avro["fields"]}
        found = {"type": "object", "required": list(properties), "properties": properties}
    elif kind == "enum":
        found = {"type": "string", "enum": list(avro["symbols"])}
    elif kind == "array":
        return {"type": "array", "items": _schema(avro["items"], known)}
    elif kind == "map":
        return {"type": "object", "additionalProperties": _schema(avro["values"], known)}
    else:
        return _schema(kind, known)
    known[avro["name"]] = found
    return found


def _field(field: dict[str, Any], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    found = _schema(field["type"], known)
    return {**found, "description": " ".join(field["doc"].split())} if field.get("doc") else found


def _union(branches: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one schema with several types where the branches have nothing else, else an ``anyOf``."""
    types: list[str] = []
    for branch in branches:
        kind = branch.get("type")
        types += kind if isinstance(kind, list) else [str(kind)]
    rest = {name: value for branch in branches for name, value in branch.items() if name != "type"}
    if not {"enum", "properties", "items"} & set(rest):
        return {"type": list(dict.fromkeys(types)), **rest}
    return {"anyOf": branches}
