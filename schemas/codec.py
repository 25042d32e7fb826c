"""Records to bytes and back, strictly.

Two wire formats (Avro 1.12 specification, "Single-object encoding"; Confluent wire format):

- *single object* (the default): ``C3 01``, the schema's CRC-64-AVRO fingerprint (8 bytes, little endian), body;
- *Confluent*: ``00``, the registry's schema id (4 bytes, big endian), body.

A reader takes both, and only fingerprints and ids that it knows: those of the current and of the released
schemas (`schemas.known`). Before anything is parsed, the size of the message and of its rest without payload
(`MAX_REST_BYTES`) is checked. The whole message must be consumed: Avro itself notices neither a bomb nor a tail.
"""

from __future__ import annotations

import dataclasses
import io
import operator
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import fastavro
from fastavro.read import SchemaResolutionError

from schemas.avro_bounds import TooMuch
from schemas.errors import (
    CodecError,
    EmptyMessage,
    InvalidRecord,
    MessageTooLarge,
    MetadataTooLarge,
    TrailingBytes,
    TruncatedMessage,
    UnknownSchema,
)
from schemas.known import Compiled, compiled, fingerprint_of, schema_of
from schemas.records import DeadLetter, Decision, Defect, DriftEvent, Frame, ImageReference, Label, Record, SignalChange

SINGLE_OBJECT_MARKER = b"\xc3\x01"
CONFLUENT_MAGIC = b"\x00"

#: Largest message a reader parses, in bytes; topics allow a little more, so that a refusal can be recorded.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

#: Most bytes of a record beside its payload (image; key, value and header values of a dead letter). Each byte may
#: become an object, so they bound the time and the memory of decoding.
MAX_REST_BYTES: Mapping[type, int] = types.MappingProxyType(
    {
        Frame: 64 * 1024,
        # Attributes of the frame, and findings of detectors: some 100 bytes a defect.
        Decision: 512 * 1024,
        DeadLetter: 512 * 1024,
        Label: 64 * 1024,
        DriftEvent: 128 * 1024,
    }
)

R = TypeVar("R", Frame, Decision, DeadLetter, Label, DriftEvent)
_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1


#: What fastavro raises on bytes that are not what the schema says.
_UNREADABLE = (EOFError, IndexError, MemoryError, OverflowError, ValueError, TypeError, SchemaResolutionError)


def _getter(record: type) -> tuple[tuple[str, ...], operator.attrgetter[tuple[Any, ...]]]:
    """Names of the fields of a record class, and what gets them all: three times as quick as one after the other."""
    found = _getters.get(record)
    if found is None:
        names = tuple(f.name for f in dataclasses.fields(record))
        found = _getters[record] = names, operator.attrgetter(*names)
    return found


_getters: dict[type, tuple[tuple[str, ...], operator.attrgetter[tuple[Any, ...]]]] = {}


def as_values(record: Record) -> dict[str, Any]:
    """A record as fastavro writes it with its schema.

    Raises
    ------
    InvalidRecord
        If a whole number is too large for the schema.
    """
    # Not dataclasses.asdict, which deep-copies the image.
    names, get = _getter(type(record))
    values = dict(zip(names, get(record), strict=True))
    if isinstance(record, Frame) and record.reference is not None:
        values["reference"] = dataclasses.asdict(record.reference)
    if isinstance(record, Decision) and record.defects:
        values["defects"] = [dataclasses.asdict(defect) for defect in record.defects]
    if isinstance(record, DriftEvent):
        values["signals"] = [dataclasses.asdict(change) for change in record.signals]
    _check_ints(compiled(type(record)), values)
    return values


def from_values(record: type[R], values: dict[str, Any]) -> R:
    """A record from what fastavro read with its schema, without logical types; ``values`` are used up.

    Raises
    ------
    InvalidRecord
        If the record's own rules refuse them.
    """
    _check_ints(compiled(record), values)
    try:
        return _from_dict(record, values)
    except (ValueError, TypeError) as error:
        raise InvalidRecord(f"not a {record.__name__}: {error}") from error


def _from_dict(record: type[R], values: dict[str, Any]) -> R:
    for name, enum in compiled(record).enums.items():
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
    if record is DriftEvent:
        values["signals"] = tuple(SignalChange(**change) for change in values["signals"])
        for name in ("frames_before", "frames_after"):
            values[name] = tuple(values[name])
    return record(**values)


def _check_ints(shape: Compiled, values: Mapping[str, Any]) -> None:
    # fastavro reads and writes an "int" as a "long"; readers in other languages break on more than 32 bits.
    for name in shape.ints:
        value = values[name]
        if value is not None and not _INT_MIN <= value <= _INT_MAX:
            raise InvalidRecord(f"{name} is {value}, more than the 32 bits of an Avro int")


def encode(record: Record, *, schema_id: int | None = None) -> bytes:
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
    values = as_values(record)
    try:
        _write(buffer, compiled(kind), values)
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise InvalidRecord(f"{kind.__name__} does not fit its schema: {error}") from error
    return buffer.getvalue()


def _write(buffer: io.BytesIO, shape: Compiled, values: dict[str, Any]) -> None:
    image = values.get("image")
    if shape.around_image is None or not isinstance(image, bytes):
        fastavro.schemaless_writer(buffer, shape.wire_schema, values)
        return
    # fastavro, which grows a buffer of its own, takes 16 times as long for an image of 334 kB.
    before, after = shape.around_image
    values["image_branch"], values["image_size"] = 1, len(image)
    fastavro.schemaless_writer(buffer, before, values)
    buffer.write(image)
    fastavro.schemaless_writer(buffer, after, values)


def decode(
    data: bytes | None,
    record: type[R],
    *,
    schema_ids: Mapping[int, type | bytes] = types.MappingProxyType({}),
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
        Registry ids known to stand for the current schema of a record class, or for the schema with a
        fingerprint (see `schemas.registry`).
    max_bytes
        Longer messages are refused unread.

    Raises
    ------
    CodecError
        One of its subclasses, for bytes that are not such a record, or for a record with more than `MAX_REST_BYTES`
        beside its payload.
    """
    if not data:
        raise EmptyMessage("the message has no value")
    if len(data) > max_bytes:
        raise MessageTooLarge(f"{len(data)} bytes, more than the {max_bytes} allowed")
    buffer = io.BytesIO(data)
    shape = compiled(record)
    found = _read_header(buffer, record, schema_ids)
    _check_rest(data, buffer.tell(), record, found)
    try:
        if found == shape.fingerprint:
            values = fastavro.schemaless_reader(buffer, shape.wire_schema, None)
        elif found in shape.older:
            values = fastavro.schemaless_reader(buffer, shape.older[found], shape.wire_schema)
        else:
            raise UnknownSchema(f"schema fingerprint {found.hex()} is no {record.__name__} that this version knows")
    except _UNREADABLE as error:
        if isinstance(error, EOFError) or buffer.tell() >= len(data):
            raise TruncatedMessage(f"{record.__name__} ends after {len(data)} bytes, too early") from error
        raise InvalidRecord(f"not a {record.__name__}: {error}") from error
    if buffer.tell() != len(data):
        raise TrailingBytes(f"{len(data) - buffer.tell()} bytes after the {record.__name__}")
    return from_values(record, typing.cast(dict[str, Any], values))


def _check_rest(data: bytes, at: int, record: type, found: bytes) -> None:
    bound, shape = MAX_REST_BYTES[record], compiled(record)
    if len(data) - at <= bound or not shape.knows(found):
        return
    try:
        shape.measures[found].rest_bytes(data, at, bound)
    except TooMuch as error:
        raise MetadataTooLarge(
            f"{error.rest_bytes} bytes or more beside the payload of the {record.__name__}, more than the {bound} "
            "allowed: shorten names and attributes",
            _head(data, at, shape) if record is Frame and found == shape.fingerprint else None,
        ) from error


def _head(data: bytes, at: int, shape: Compiled) -> Frame | None:
    """Return the frame, without image and attributes, if the head of the message is small enough; else None."""
    assert shape.around_image is not None
    before, _ = shape.around_image
    try:
        values: Any = fastavro.schemaless_reader(io.BytesIO(data[at : at + MAX_REST_BYTES[Frame]]), before, None)
        del values["image_branch"], values["image_size"]
        return from_values(Frame, {**values, "image": b"", "reference": None, "attributes": {}})
    except (*_UNREADABLE, InvalidRecord):
        return None


def _read_header(buffer: io.BytesIO, record: type, schema_ids: Mapping[int, type | bytes]) -> bytes:
    """Fingerprint of the schema that wrote the message; the buffer is left at the body."""
    head = buffer.read(2)
    if head == SINGLE_OBJECT_MARKER:
        found = buffer.read(8)
        if len(found) < 8:
            raise TruncatedMessage("ends within the schema fingerprint")
        return found
    if head[:1] != CONFLUENT_MAGIC:
        raise UnknownSchema(f"starts with {head.hex()}: neither Avro single-object nor Confluent framing")
    buffer.seek(1)
    found = buffer.read(4)
    if len(found) < 4:
        raise TruncatedMessage("ends within the schema id")
    schema_id = int.from_bytes(found, "big")
    known = schema_ids.get(schema_id)
    if isinstance(known, bytes):
        return known
    if known is not record:
        raise UnknownSchema(f"registry schema id {schema_id} is not known to be a {record.__name__}")
    return fingerprint_of(record)


__all__ = [
    "MAX_MESSAGE_BYTES",
    "MAX_REST_BYTES",
    "CodecError",
    "as_values",
    "decode",
    "encode",
    "fingerprint_of",
    "from_values",
    "schema_of",
]
