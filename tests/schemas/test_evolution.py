"""Any released version of a schema reads what any other wrote."""

from __future__ import annotations

import copy
import dataclasses
import io
from typing import Any

import fastavro
import pytest

from schemas import Decision, Frame
from schemas import compiled_schemas as known_schemas
from schemas.codec import decode, encode
from schemas.compiled_schemas import (
    RECORDS,
    Schema,
    compile_schemas,
    fingerprint_of_schema,
    released_schemas_of,
    schema_of,
)
from schemas.errors import UnknownSchema
from tests.support import records as examples

VERSIONS = [
    pytest.param(record, version, id=f"{record.__name__} v{version}")
    for record in RECORDS
    for version in released_schemas_of(record)
]


def example(record: type) -> Any:
    return next(e for e in examples.ALL if type(e) is record)


def written(values: dict[str, Any], schema: Schema) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, values)
    return buffer.getvalue()


def problems(old: Schema, new: Schema) -> list[str]:
    """What makes one version unable to read the other, in either direction.

    Fields come and go with a default only, and keep their type; enums keep their symbols and may gain some
    where readers have a default for what they do not know.
    """
    before, after = ({f["name"]: f for f in schema["fields"]} for schema in (old, new))
    found = [f"{n} added without a default" for n in after.keys() - before.keys() if "default" not in after[n]]
    found += [f"{n} removed, had no default" for n in before.keys() - after.keys() if "default" not in before[n]]
    for name in before.keys() & after.keys():
        one, two = before[name], after[name]
        if _shape(one["type"]) != _shape(two["type"]):
            found.append(f"{name} changed its type")
        found += [f"{name} lost the symbol {s}" for s in _symbols(one["type"]) - _symbols(two["type"])]
        if ("default" in one) and ("default" not in two):
            found.append(f"{name} lost its default")
    return found


def _shape(avro: Any) -> Any:
    if isinstance(avro, list):
        return [_shape(branch) for branch in avro]
    if isinstance(avro, dict):
        return {k: _shape(v) for k, v in avro.items() if k not in ("doc", "symbols")}
    return avro


def _symbols(avro: Any) -> set[str]:
    return set(avro["symbols"]) if isinstance(avro, dict) and avro["type"] == "enum" else set()


def test_every_record_has_been_released():
    assert all(1 in released_schemas_of(record) for record in RECORDS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_versions_are_counted_without_a_gap(record):
    versions = list(released_schemas_of(record))
    assert versions == list(range(1, len(versions) + 1))


@pytest.mark.parametrize(("record", "version"), VERSIONS)
def test_only_compatible_changes(record, version):
    assert problems(released_schemas_of(record)[version], schema_of(record)) == []


@pytest.mark.parametrize(("record", "version"), VERSIONS)
def test_current_reads_released(record, version):
    released = released_schemas_of(record)[version]
    body = written(dataclasses.asdict(example(record)), released)
    assert decode(b"\xc3\x01" + fingerprint_of_schema(released) + body, record).key is not None
    fastavro.schemaless_reader(io.BytesIO(body), released, schema_of(record))


@pytest.mark.parametrize(("record", "version"), VERSIONS)
def test_released_reads_current(record, version):
    body = encode(example(record))[10:]
    fastavro.schemaless_reader(io.BytesIO(body), schema_of(record), released_schemas_of(record)[version])


# A future, to see that the above would work when there is more than one version.


def future(change: str) -> Schema:
    schema = copy.deepcopy(schema_of(Frame))
    match change:
        case "added with a default":
            schema["fields"].append({"name": "gain_db", "type": ["null", "double"], "default": None})
        case "added without a default":
            schema["fields"].append({"name": "gain_db", "type": "double"})
        case "removed with a default":
            schema["fields"] = [f for f in schema["fields"] if f["name"] != "lot"]
        case "removed without a default":
            schema["fields"] = [f for f in schema["fields"] if f["name"] != "line"]
        case "another type":
            next(f for f in schema["fields"] if f["name"] == "width")["type"] = "string"
        case "a symbol gone":
            next(f for f in schema["fields"] if f["name"] == "encoding")["type"]["symbols"].remove("BMP")
        case "a symbol more":
            next(f for f in schema["fields"] if f["name"] == "encoding")["type"]["symbols"].append("WEBP")
    return schema


@pytest.mark.parametrize("change", ["added with a default", "removed with a default", "a symbol more"])
def test_compatible_futures(change):
    assert problems(schema_of(Frame), future(change)) == []


@pytest.mark.parametrize(
    "change", ["added without a default", "removed without a default", "another type", "a symbol gone"]
)
def test_incompatible_futures_are_noticed(change):
    assert len(problems(schema_of(Frame), future(change))) == 1


@pytest.fixture
def older_frame(monkeypatch):
    """A world in which an earlier release had no ``lot`` and knew ``operator``, since removed."""
    schema = copy.deepcopy(schema_of(Frame))
    schema["fields"] = [f for f in schema["fields"] if f["name"] != "lot"]
    schema["fields"].insert(3, {"name": "operator", "type": ["null", "string"], "default": None})
    table = compile_schemas(Frame, schema_of(Frame), [schema, schema_of(Frame)])
    monkeypatch.setitem(known_schemas._compiled_by_type, Frame, table)
    return schema


def test_a_message_of_an_older_release_is_read(older_frame):
    values = {**dataclasses.asdict(examples.FRAME), "operator": "Ada"}
    body = written(values, older_frame)
    expected = dataclasses.replace(examples.FRAME, lot=None)
    found = fingerprint_of_schema(older_frame)
    assert decode(b"\xc3\x01" + found + body, Frame) == expected
    assert decode(b"\x00\x00\x00\x00\x05" + body, Frame, schema_ids={5: found}) == expected


def test_it_is_not_taken_for_another_record(older_frame):
    body = written({**dataclasses.asdict(examples.FRAME), "operator": None}, older_frame)
    with pytest.raises(UnknownSchema):
        decode(b"\xc3\x01" + fingerprint_of_schema(older_frame) + body, Decision)


def test_writers_use_the_current_schema(older_frame):
    assert encode(examples.FRAME)[2:10] == fingerprint_of_schema(schema_of(Frame))
