"""Reader of Avro object container files from any writer (Avro 1.12 specification, Object container files).

The schema, the codec and every length come from the file. The reader therefore compares them with limits before it
uses them. It accepts only the codecs ``null`` and ``deflate``, at most `MAX_BLOCK_BYTES` for an unpacked block, and a
schema whose reading takes no more time than the length of the data justifies.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, parse_schema

from schemas.compiled_schemas import Schema, without_logical_types

#: Maximum bytes of a block, unpacked: three times the largest message.
MAX_BLOCK_BYTES = 64 * 1024 * 1024
#: Maximum bytes before the first block.
MAX_HEADER_BYTES = 64 * 1024 * 1024
#: Maximum bytes of a schema, as JSON.
_MAX_SCHEMA_BYTES = 256 * 1024
#: Maximum number of entries of a header. Writers use two to ten.
_MAX_ENTRIES = 100
_MAX_DEPTH = 30
#: Maximum number of types in a schema; a named type counts at each use.
_MAX_TYPES = 5_000
_MAGIC, _SYNC_BYTES = b"Obj\x01", 16
_PRIMITIVE_BYTES = {
    "null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1,
}  # fmt: skip
#: Errors of fastavro on bytes that do not fit the schema.
UNREADABLE: tuple[type[Exception], ...] = (
    AttributeError, EOFError, LookupError, MemoryError, OverflowError, RecursionError, SchemaParseException,
    SchemaResolutionError, TypeError, ValueError, zlib.error,
)  # fmt: skip


class FileHeader(NamedTuple):
    """Header before the first block: metadata, the marker between blocks, and its own size in bytes."""

    metadata: Mapping[str, bytes]
    sync: bytes
    size_bytes: int


class AvroBlock(NamedTuple):
    """Block: its number of records, and their unpacked bytes."""

    records: int
    data: bytes


def read_file_header(data: bytes) -> FileHeader:
    """Read the header.

    Raises
    ------
    ValueError
        If the bytes do not begin with a header.

    Examples
    --------
    >>> read_file_header(b"PNG")
    Traceback (most recent call last):
    ValueError: no Avro container file
    """
    if data[:4] != _MAGIC:
        raise ValueError("no Avro container file")
    try:
        metadata, position = _metadata(data, 4)
    except EOFError as error:
        raise ValueError("its header ends early") from error
    sync = data[position : position + _SYNC_BYTES]
    if len(sync) != _SYNC_BYTES:
        raise ValueError("its header ends early")
    return FileHeader(metadata, sync, position + _SYNC_BYTES)


def _metadata(data: bytes, position: int) -> tuple[dict[str, bytes], int]:
    """Read a map of bytes, and return it with the position behind it; raise EOFError if it ends early."""
    found: dict[str, bytes] = {}
    entries = 0
    while True:
        count, position = _long(data, position)
        if not count:
            return found, position
        if count < 0:  # the size of the block in bytes follows
            count, (_, position) = -count, _long(data, position)
        entries += count
        if entries > _MAX_ENTRIES:
            raise ValueError(f"its header has over {_MAX_ENTRIES} entries")
        for _ in range(count):
            key, position = _bytes(data, position)
            found[key.decode("utf-8", "replace")], position = _bytes(data, position)


def _bytes(data: bytes, position: int) -> tuple[bytes, int]:
    size, position = _long(data, position)
    if not 0 <= size <= len(data) - position:
        raise EOFError
    return data[position : position + size], position + size


def blocks(header: FileHeader, data: bytes) -> Iterator[AvroBlock]:
    """Yield the blocks of a file, unpacked one after the other; ``data`` begins behind the header.

    Raises
    ------
    ValueError
        If the blocks are not valid, or one is over `MAX_BLOCK_BYTES`.
    """
    codec = header.metadata.get("avro.codec", b"null")
    if codec not in (b"null", b"deflate"):
        raise ValueError(f"codec {codec[:40].decode('ascii', 'replace')!r} is not read, only null and deflate")
    position = 0
    while position < len(data):
        try:
            records, position = _long(data, position)
            size, position = _long(data, position)
        except EOFError as error:
            raise ValueError("a block ends early") from error
        end = position + size
        if records < 0 or size < 0 or data[end : end + _SYNC_BYTES] != header.sync:
            raise ValueError("a block does not end where it says")
        if size > MAX_BLOCK_BYTES:
            raise ValueError(f"a block of {size} bytes; the most is {MAX_BLOCK_BYTES}")
        packed = data[position:end]
        yield AvroBlock(records, packed if codec == b"null" else _inflate(packed))
        position = end + _SYNC_BYTES


def _inflate(packed: bytes) -> bytes:
    unpack = zlib.decompressobj(-15)  # raw deflate, without a header
    try:
        data = unpack.decompress(packed, MAX_BLOCK_BYTES)
        # If the limit is just met, the end of the stream may still be unread.
        more = b"" if unpack.eof else unpack.decompress(unpack.unconsumed_tail, 1)
    except zlib.error as error:
        raise ValueError(f"a block is not deflated: {error}") from error
    if more:
        raise ValueError(f"a block unpacks to more than {MAX_BLOCK_BYTES} bytes")
    # Bytes after the end have no meaning: fastavro leaves three bytes of a checksum there.
    if not unpack.eof:
        raise ValueError("a block is not deflated: it does not end where it says")
    return data


def _long(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position
    raise EOFError


def records(block: AvroBlock, writer: Any, reader: Any) -> Iterator[Any]:
    """Yield the records of a block, as plain values.

    Parameters
    ----------
    writer, reader
        Parsed schemas; None as ``reader`` if both are the same.

    Raises
    ------
    ValueError
        If the bytes do not fit the schema.
    """
    data = io.BytesIO(block.data)
    # A record has at least one byte: see `written_schema`.
    if block.records > len(block.data):
        raise ValueError(f"a block of {len(block.data)} bytes says that it has {block.records} records")
    try:
        for _ in range(block.records):
            yield fastavro.schemaless_reader(data, writer, reader)
    except UNREADABLE as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if data.read(1):
        raise ValueError("a block has bytes after its last record")


def written_schema(header: FileHeader) -> Any:
    """Return the schema that a file was written with, parsed, without logical types.

    Raises
    ------
    ValueError
        If the schema is not valid, is too large, contains itself, or has lists or fields of zero-byte types.
    """
    text = header.metadata.get("avro.schema", b"")
    if len(text) > _MAX_SCHEMA_BYTES:
        raise ValueError(f"its schema has {len(text)} bytes; the most is {_MAX_SCHEMA_BYTES}")
    return _parsed(bytes(text))


@lru_cache
def _parsed(text: bytes) -> Any:
    try:
        # fastavro adds its own fields to schemas that it has parsed.
        plain = without_hints(json.loads(text))
        if _Measure().of(plain, "", 0)[0] < 1:
            raise ValueError("a record without a byte")
        return parse_schema(without_logical_types(plain))
    except UNREADABLE as error:
        raise ValueError(f"its schema is not read: {type(error).__name__}: {str(error)[:200]}") from error


def without_hints(schema: Any, depth: int = 0) -> Any:
    """Return a schema without the fields that fastavro adds.

    Raises
    ------
    ValueError
        If the schema is nested too deeply.
    """
    if depth > 10 * _MAX_DEPTH:
        raise ValueError("it is nested too deep")
    if isinstance(schema, dict):
        return {k: without_hints(v, depth + 1) for k, v in schema.items() if not k.startswith("__")}
    return [without_hints(item, depth + 1) for item in schema] if isinstance(schema, list) else schema


class _Measure:
    """Measure of a schema with all types in it: fewest bytes of a value, and number of types."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[int, int] | None] = {}

    def of(self, schema: Schema | list[Any] | str, namespace: str, depth: int) -> tuple[int, int]:
        """Measure a schema; refuse schemas that contain themselves, and lists and fields of zero-byte types."""
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deep")
        found = self._of(schema, namespace, depth)
        if found[1] > _MAX_TYPES:
            raise ValueError(f"it has over {_MAX_TYPES} types")
        return found

    def _of(self, schema: Any, namespace: str, depth: int) -> tuple[int, int]:
        if isinstance(schema, str):
            if schema in _PRIMITIVE_BYTES:
                return _PRIMITIVE_BYTES[schema], 1
            return self._known(schema if "." in schema or not namespace else f"{namespace}.{schema}")
        if isinstance(schema, list):
            sizes = [self.of(each, namespace, depth + 1) for each in schema]
            return 1, 1 + sum(count for _, count in sizes)
        kind = schema["type"]
        if kind in ("record", "error", "enum", "fixed"):
            return self._name(schema, kind, namespace, depth)
        if kind in ("array", "map"):
            size, count = self.of(schema["items" if kind == "array" else "values"], namespace, depth + 1)
            if kind == "array" and size < 1:
                raise ValueError("it has a list of what takes no bytes")
            return 1, 1 + count
        return self.of(kind, namespace, depth + 1)

    def _known(self, name: str) -> tuple[int, int]:
        found = self._named.get(name, ())
        if found == ():
            raise ValueError(f"unknown type {name[:100]!r}")
        if not found:
            raise ValueError(f"type {name[:100]!r} contains itself")
        return found

    def _name(self, schema: Schema, kind: str, outer: str, depth: int) -> tuple[int, int]:
        given = str(schema["name"])
        namespace = given.rpartition(".")[0] if "." in given else str(schema.get("namespace", outer))
        name = given if "." in given or not namespace else f"{namespace}.{given}"
        self._named[name] = None
        if kind == "enum":
            found = (1, 1)
        elif kind == "fixed":
            found = (int(schema["size"]), 1)
            if not 0 <= found[0] <= MAX_BLOCK_BYTES:
                raise ValueError(f"type {name[:100]!r} has {found[0]} bytes")
        else:
            sizes = [self.of(field["type"], namespace, depth + 1) for field in schema["fields"]]
            # Thousands of such fields could be read for each byte of a record.
            if any(size < 1 for size, _ in sizes):
                raise ValueError("it has a field of what takes no bytes")
            found = (sum(size for size, _ in sizes), 1 + sum(count for _, count in sizes))
        self._named[name] = found
        return found
