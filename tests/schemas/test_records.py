"""The records say what the .avsc files say, field by field."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import StrEnum

import pytest

from schemas.compiled_schemas import RECORDS, schema_of
from schemas.topics import TOPICS

NESTED = {"ImageReference", "Defect", "SignalChange"}


def plain(avro: object) -> object:
    """An Avro type as a Python annotation, as far as the records use them."""
    simple = {
        "string": str, "int": int, "long": int, "double": float, "boolean": bool, "bytes": bytes, "null": types.NoneType
    }  # fmt: skip
    if isinstance(avro, str):
        return simple[avro]
    if isinstance(avro, list):
        return frozenset(plain(branch) for branch in avro)
    assert isinstance(avro, dict)
    match avro["type"]:
        case "enum" | "record":
            return avro["name"]
        case "array":
            return ("array", plain(avro["items"]))
        case "map":
            return ("map", plain(avro["values"]))
        case other:
            return simple[other]


def annotated(hint: object) -> object:
    """A Python annotation in the same terms."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return frozenset(annotated(arg) for arg in args)
    if origin is tuple:
        return ("array", annotated(args[0]))
    if origin is dict:
        assert args[0] is str
        return ("map", annotated(args[1]))
    assert isinstance(hint, type)
    return hint.__name__ if dataclasses.is_dataclass(hint) or issubclass(hint, StrEnum) else hint


def default_of(field: dataclasses.Field) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_same_fields_of_the_same_types(record):
    hints = typing.get_type_hints(record)
    ours = {f.name: annotated(hints[f.name]) for f in dataclasses.fields(record)}
    theirs = {f["name"]: plain(f["type"]) for f in schema_of(record)["fields"]}
    assert ours == theirs


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_same_defaults(record):
    enums = {n for n, h in typing.get_type_hints(record).items() if isinstance(h, type) and issubclass(h, StrEnum)}
    ours = {f.name: default_of(f) for f in dataclasses.fields(record) if default_of(f) is not dataclasses.MISSING}
    theirs = {f["name"]: f["default"] for f in schema_of(record)["fields"] if "default" in f}
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in ours.items()} == theirs
    assert not enums & set(theirs)  # what a record decides is never filled in


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_enums_have_the_same_symbols(record):
    hints = typing.get_type_hints(record)
    for field in schema_of(record)["fields"]:
        if isinstance(field["type"], dict) and field["type"]["type"] == "enum":
            assert [member.value for member in hints[field["name"]]] == field["type"]["symbols"]
            assert field["type"]["default"] in field["type"]["symbols"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_nested_records_have_the_same_fields(record):
    hints = typing.get_type_hints(record)
    seen = set()

    def visit(avro: object) -> None:
        if isinstance(avro, list):
            for branch in avro:
                visit(branch)
        elif isinstance(avro, dict) and avro["type"] == "record":
            seen.add(avro["name"])
            cls = next(c for c in _classes(hints.values()) if c.__name__ == avro["name"])
            inner = typing.get_type_hints(cls)
            assert {n: annotated(h) for n, h in inner.items()} == {f["name"]: plain(f["type"]) for f in avro["fields"]}
        elif isinstance(avro, dict) and avro["type"] == "array":
            visit(avro["items"])

    for field in schema_of(record)["fields"]:
        visit(field["type"])
    assert seen <= NESTED


def _classes(hints: typing.Iterable[object]) -> typing.Iterator[type]:
    for hint in hints:
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield hint
        yield from _classes(typing.get_args(hint))


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_moments_are_timestamps(record):
    """A field in ``_at_us`` is a timestamp for every reader, and no other field is."""
    for field in schema_of(record)["fields"]:
        assert ("timestamp-micros" in str(field["type"])) == field["name"].endswith("_at_us"), field["name"]


def test_every_record_has_a_topic():
    assert {topic.record for topic in TOPICS} - {bytes} == set(RECORDS)
