"""Records to bytes and back, strictly.

Two wire formats (Avro 1.12 specification, "Single-object encoding"; Confluent wire format):

- *single object* (the default): ``C3 01``, the schema's CRC-64-AVRO fingerprint (8 bytes, little endian), body;
- *Confluent*: ``00``, the registry's schema id (4 bytes, big endian), body.

A reader takes both, and only fingerprints and ids that it knows. The size is checked before anything is
parsed and the whole message must be consumed, since Avro itself notices neither a bomb nor a tail.
"""

from __future__ import annotations

import dataclasses
import io
import json
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from importlib.resources import files
from typing import Any, TypeVar

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from schemas.errors import (
    CodecError,
    EmptyMessage,
    InvalidRecord,
    MessageTooLarge,
    TrailingBytes,
    TruncatedMessage,
    UnknownSchema,
)
from schemas.records import DeadLetter, Decision, Defect, Frame, ImageReference

SINGLE_OBJECT_MARKER = b"\xc3\x01"
CONFLUENT_MAGIC = b"\x00"

#: Largest message a reader parses, in bytes; topics allow a little more, so that a refusal can be recorded.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

R = TypeVar("R", Frame, Decision, DeadLetter)
_AVSC: Mapping[type, str] = {Frame: "frame", Decision: "decision", DeadLetter: "dead_letter"}


def schema_of(record: type) -> dict[str, Any]:
    """The shipped Avro schema of a record class, as parsed JSON.

    Examples
    --------
    >>> schema_of(Frame)["name"]
    'Frame'
    """
    text = files("schemas").joinpath("avro", f"{_AVSC[record]}.avsc").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def fingerprint_of(record: type) -> bytes:
    """CRC-64-AVRO of the schema's canonical form: 8 bytes, as they travel."""
    return _compiled(record).fingerprint


@dataclasses.dataclass(frozen=True, slots=True)
class _Compiled:
    wire_schema: Any
    fingerprint: bytes
    enums: dict[str, type[StrEnum]]


_compiled_by_type: dict[type, _Compiled] = {}


def _compiled(record: type) -> _Compiled:
    # A plain dict: mypy does not take a record class for the hashable that functools.cache asks for.
    found = _compiled_by_type.get(record)
    if found is None:
        schema = schema_of(record)
        hints = typing.get_type_hints(record)
        found = _compiled_by_type[record] = _Compiled(
            # The same bytes, without the conversion of every timestamp to a datetime and back.
            wire_schema=parse_schema(_without_logical_types(schema)),
            fingerprint=bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")),
            enums={n: h for n, h in hints.items() if isinstance(h, type) and issubclass(h, StrEnum)},
        )
    return found


def _without_logical_types(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_logical_types(v) for k, v in node.items() if k != "logicalType"}
    return [_without_logical_types(item) for item in node] if isinstance(node, list) else node


def _as_dict(record: Frame | Decision | DeadLetter) -> dict[str, Any]:
    # Not dataclasses.asdict, which deep-copies the image.
    values = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    if isinstance(record, Frame) and record.reference is not None:
        values["reference"] = dataclasses.asdict(record.reference)
    if isinstance(record, Decision) and record.defects:
        values["defects"] = [dataclasses.asdict(defect) for defect in record.defects]
    return values


def _from_dict(record: type[R], values: dict[str, Any]) -> R:
    for name, enum in _compiled(record).enums.items():
        values[name] = enum(values[name])
    if record is Frame and values["reference"] is not None:
        values["reference"] = ImageReference(**values["reference"])
    if record is Decision:
        defects = []
        for defect in values["defects"]:
            box = tuple(defect["box_xywh"])
            if len(box) != 4:
                raise ValueError(f"a box has 4 numbers, not {len(box)}")
            defects.append(Defect(defect["label"], defect["score"], box))
        values["defects"] = tuple(defects)
    return record(**values)


def encode(record: Frame | Decision | DeadLetter, *, schema_id: int | None = None) -> bytes:
    """Encode a record: single-object format, or Confluent's where a registry gave a ``schema_id``.

    Raises
    ------
    InvalidRecord
        If a value does not fit the schema.

    Examples
    --------
    >>> letter = DeadLetter(source_topic="t", source_partition=0, source_offset=7, kind="truncated",
    ...                     reason="ends early", failed_at_us=0, worker="w")
    >>> encode(letter)[:2].hex()
    'c301'
    >>> decode(encode(letter), DeadLetter).source_offset
    7
    """
    kind = type(record)
    buffer = io.BytesIO()
    if schema_id is None:
        buffer.write(SINGLE_OBJECT_MARKER + fingerprint_of(kind))
    else:
        buffer.write(CONFLUENT_MAGIC + schema_id.to_bytes(4, "big"))
    try:
        fastavro.schemaless_writer(buffer, _compiled(kind).wire_schema, _as_dict(record))
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise InvalidRecord(f"{kind.__name__} does not fit its schema: {error}") from error
    return buffer.getvalue()


def decode(
    data: bytes | None,
    record: type[R],
    *,
    schema_ids: Mapping[int, type] = types.MappingProxyType({}),
    max_bytes: int = MAX_MESSAGE_BYTES,
) -> R:
    """Decode a message of either wire format.

    Parameters
    ----------
    data
        The value of the Kafka message.
    record
        Class that the topic carries.
    schema_ids
        Registry ids known to stand for a record class (see `schemas.registry`).
    max_bytes
        Longer messages are refused unread.

    Raises
    ------
    CodecError
        One of its subclasses, for bytes that are not such a record.
    """
    if not data:
        raise EmptyMessage("the message has no value")
    if len(data) > max_bytes:
        raise MessageTooLarge(f"{len(data)} bytes, more than the {max_bytes} allowed")
    buffer = io.BytesIO(data)
    _read_header(buffer, record, schema_ids)
    try:
        values = fastavro.schemaless_reader(buffer, _compiled(record).wire_schema, None)
    except (EOFError, IndexError, MemoryError, OverflowError, ValueError, TypeError) as error:
        if isinstance(error, EOFError) or buffer.tell() >= len(data):
            raise TruncatedMessage(f"{record.__name__} ends after {len(data)} bytes, too early") from error
        raise InvalidRecord(f"not a {record.__name__}: {error}") from error
    if buffer.tell() != len(data):
        raise TrailingBytes(f"{len(data) - buffer.tell()} bytes after the {record.__name__}")
    try:
        return _from_dict(record, typing.cast(dict[str, Any], values))
    except (ValueError, TypeError) as error:
        raise InvalidRecord(f"not a {record.__name__}: {error}") from error


def _read_header(buffer: io.BytesIO, record: type, schema_ids: Mapping[int, type]) -> None:
    head = buffer.read(2)
    if head == SINGLE_OBJECT_MARKER:
        found = buffer.read(8)
        if len(found) < 8:
            raise TruncatedMessage("ends within the schema fingerprint")
        if found != fingerprint_of(record):
            raise UnknownSchema(f"schema fingerprint {found.hex()} is not the {record.__name__} of this version")
    elif head[:1] == CONFLUENT_MAGIC:
        buffer.seek(1)
        found = buffer.read(4)
        if len(found) < 4:
            raise TruncatedMessage("ends within the schema id")
        schema_id = int.from_bytes(found, "big")
        if schema_ids.get(schema_id) is not record:
            raise UnknownSchema(f"registry schema id {schema_id} is not known to be a {record.__name__}")
    else:
        raise UnknownSchema(f"starts with {head.hex()}: neither Avro single-object nor Confluent framing")


__all__ = ["MAX_MESSAGE_BYTES", "CodecError", "decode", "encode", "fingerprint_of", "schema_of"]
