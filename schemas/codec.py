"""Strict encoding of records to bytes, and decoding of bytes to records.

Two wire formats (Avro 1.12 specification, "Single-object encoding"; Confluent wire format):

- *single object* (the default): ``C3 01``, the schema's CRC-64-AVRO fingerprint (8 bytes, little endian), body;
- *Confluent*: ``00``, the registry's schema id (4 bytes, big endian), body.

A reader accepts both formats. It accepts only fingerprints and ids that it knows: those of the current and of the
released schemas (`schemas.compiled_schemas`). Before parsing, it checks the size of the message and of its rest without
payload (`MAX_REST_BYTES`). It must consume the whole message. Avro itself notices neither a message that expands into
millions of objects nor bytes after the record.
"""

from __future__ import annotations

import io
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import fastavro
from fastavro.read import SchemaResolutionError

from schemas.avro_bounds import TooMuch
from schemas.avro_values import as_values, from_values
from schemas.compiled_schemas import Compiled, compiled, fingerprint_of
from schemas.errors import (
    EmptyMessage,
    InvalidRecord,
    MessageTooLarge,
    MetadataTooLarge,
    TrailingBytes,
    TruncatedMessage,
    UnknownSchema,
)
from schemas.records import AuditEvent, DeadLetter, Decision, DriftEvent, Frame, Label, Record
from schemas.settings import KafkaSettings
from schemas.topics import MAX_MESSAGE_BYTES, TOPICS

SINGLE_OBJECT_MARKER = b"\xc3\x01"
CONFLUENT_MAGIC = b"\x00"

#: Most bytes of a record beside its payload (image; key, value and header values of a dead letter). Each byte may
#: become an object, so this limit bounds the time and the memory of decoding.
MAX_REST_BYTES: Mapping[type, int] = types.MappingProxyType(
    {
        Frame: 64 * 1024,
        # Attributes of the frame, and findings of detectors: about 100 bytes for each defect.
        Decision: 512 * 1024,
        DeadLetter: 512 * 1024,
        Label: 64 * 1024,
        DriftEvent: 128 * 1024,
        AuditEvent: 64 * 1024,
    }
)

R = TypeVar("R", Frame, Decision, DeadLetter, Label, DriftEvent, AuditEvent)


#: Errors that fastavro raises on bytes that do not follow the schema.
_UNREADABLE = (EOFError, IndexError, MemoryError, OverflowError, ValueError, TypeError, SchemaResolutionError)


def encode(record: Record, *, schema_id: int | None = None) -> bytes:
    """Encode a record in single-object format, or in Confluent's format if a registry returned a ``schema_id``.

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
    # fastavro grows a buffer of its own, which takes 16 times as long for an image of 334 kB.
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
        Value of the Kafka message.
    record
        Class of the records in the topic.
    schema_ids
        Registry ids, each with the record class whose current schema it names, or with the fingerprint of its schema
        (see `schemas.registry`).
    max_bytes
        Longest message to read; longer messages are refused unread.

    Raises
    ------
    CodecError
        One of its subclasses, if the bytes are not such a record, or if the record has more than `MAX_REST_BYTES`
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
    """Return the frame without image and attributes; None if the head of the message is too large."""
    assert shape.around_image is not None
    before, _ = shape.around_image
    try:
        values: Any = fastavro.schemaless_reader(io.BytesIO(data[at : at + MAX_REST_BYTES[Frame]]), before, None)
        del values["image_branch"], values["image_size"]
        return from_values(Frame, {**values, "image": b"", "reference": None, "attributes": {}})
    except (*_UNREADABLE, InvalidRecord):
        return None


def _read_header(buffer: io.BytesIO, record: type, schema_ids: Mapping[int, type | bytes]) -> bytes:
    """Return the fingerprint of the schema that wrote the message, and leave the buffer at the body."""
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


class Codec:
    """Encoder and decoder of records, in the wire format of a line.

    Parameters
    ----------
    own_ids
        Registry id to write for each record class; a class without an id is written in single-object encoding.
    schema_ids
        Registry ids that may be read, see `decode`.

    Examples
    --------
    >>> letter = DeadLetter(source_topic="t", source_partition=0, source_offset=7, kind="truncated",
    ...                     reason="ends early", failed_at_us=0, worker="w")
    >>> codec = Codec.from_settings(KafkaSettings())
    >>> codec.decode(codec.encode(letter), DeadLetter) == letter
    True
    """

    def __init__(
        self,
        own_ids: Mapping[type, int] = types.MappingProxyType({}),
        schema_ids: Mapping[int, type | bytes] = types.MappingProxyType({}),
    ) -> None:
        self._own_ids = dict(own_ids)
        self._schema_ids = dict(schema_ids)

    @classmethod
    def from_settings(cls, kafka: KafkaSettings) -> Codec:
        """Return the codec of the settings. If the settings name a registry, it is asked once, here.

        Raises
        ------
        RegistryError
            If the settings name a registry that does not answer, or that refuses our schemas.
        """
        if kafka.schema_registry_url is None:
            return cls()
        from schemas.registry import RegistryIds

        names = {topic.record: topic.name(kafka.prefix) for topic in TOPICS if topic.record is not bytes}
        topics = {record: [name] for record, name in names.items()}
        ids = RegistryIds(kafka.schema_registry_url, topics, dict(kafka.registry_client))
        return cls({record: ids.id_for(record, name) for record, name in names.items()}, ids.schema_ids)

    def encode(self, record: Record) -> bytes:
        """Encode a record, see `encode`."""
        return encode(record, schema_id=self._own_ids.get(type(record)))

    def decode(self, data: bytes | None, record: type[R], *, max_bytes: int = MAX_MESSAGE_BYTES) -> R:
        """Decode a message, see `decode`."""
        return decode(data, record, schema_ids=self._schema_ids, max_bytes=max_bytes)

    def decode_head(self, data: bytes | None) -> Frame:
        """Decode a frame; a frame with too large names and attributes is returned without attributes and image.

        Raises
        ------
        CodecError
            If not even the identity of the frame can be read.
        """
        try:
            return self.decode(data, Frame)
        except MetadataTooLarge as error:
            if isinstance(error.record, Frame):
                return error.record
            raise
