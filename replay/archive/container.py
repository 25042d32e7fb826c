"""Avro object container files of messages (Avro 1.12 specification, "Object container files").

Each record is an envelope around one message. Frames are written with the codec ``null``, since images do not compress.
All other records are written with ``deflate``. Every Avro implementation has these two codecs. A file is divided into
segments of whole blocks. The commit has their positions and checksums, so a reader can read any segment on its own, in
bounded memory, and always checked.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastavro.schema import parse_schema
from fastavro.write import Writer

from replay import avro_file
from replay.archive.commits import Segment
from replay.archive.layout import FIRST_US, LAST_US, in_calendar
from schemas.avro_values import as_values, from_values
from schemas.codec import Codec
from schemas.compiled_schemas import Schema, schema_of, without_logical_types
from schemas.errors import CodecError
from schemas.records import Frame, Record
from transport.stored_message import MessagePosition, R, StoredMessage, max_bytes

#: Approximate bytes of a block, and of a segment: both end with the record that fills them.
_BLOCK_BYTES = 64 * 1024
SEGMENT_BYTES = 2 * 1024 * 1024


def envelope_schema(record: type) -> Schema:
    """Return the schema of a message with its record.

    If the value of a message is not a valid record, ``record`` is null and ``value`` has the bytes.

    Examples
    --------
    >>> [field["name"] for field in envelope_schema(Frame)["fields"]]
    ['topic', 'partition', 'offset', 'timestamp_us', 'key', 'headers', 'record', 'value', 'problem']
    """
    return {
        "type": "record",
        "name": f"Archived{record.__name__}",
        "namespace": "inspection.archive",
        "doc": "One message of a topic",
        "fields": [
            {"name": "topic", "type": "string"},
            {"name": "partition", "type": "int"},
            {"name": "offset", "type": "long"},
            {"name": "timestamp_us", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "key", "type": ["null", "bytes"], "default": None},
            {"name": "headers", "type": {"type": "map", "values": "bytes"}, "default": {}},
            {"name": "record", "type": ["null", schema_of(record)], "default": None},
            {"name": "value", "type": ["null", "bytes"], "default": None, "doc": "As it came, where record is null"},
            {"name": "problem", "type": "string", "default": "", "doc": "Why record is null"},
        ],
    }


class _Shape(NamedTuple):
    schema: Any
    wire: Any
    name: str
    moments: tuple[str, ...]


def _shape(record: type) -> _Shape:
    found = _shapes.get(record)
    if found is None:
        found = _shapes[record] = _make_shape(record)
    return found


#: A plain dict: for mypy a record class is not the hashable that functools.cache asks for.
_shapes: dict[type, _Shape] = {}


def _make_shape(record: type) -> _Shape:
    schema = envelope_schema(record)
    own = schema_of(record)
    moments = tuple(field["name"] for field in own["fields"] if "logicalType" in json.dumps(field["type"]))
    name = f"{own['namespace']}.{own['name']}"
    return _Shape(parse_schema(schema), parse_schema(without_logical_types(schema)), name, moments)


def has_sayable_times(record: Record) -> bool:
    """Return True if all times are in years that a calendar has.

    A reader that converts other times to dates fails on the whole file.

    Examples
    --------
    >>> from schemas.records import Label, Verdict
    >>> label = Label(label_id="", station="", camera_id="", part_id="", truth=Verdict.OK, labelled_at_us=2**62,
    ...               labelled_by="")
    >>> has_sayable_times(label)
    False
    """
    values = (getattr(record, name) for name in _shape(type(record)).moments)
    return all(value is None or FIRST_US <= value <= LAST_US for value in values)


class ContainerWriter:
    """Writer of a container file in memory, for messages with ascending offsets.

    Parameters
    ----------
    record
        Class of the records.
    sync_marker
        16 bytes between the blocks. The caller chooses them, so that the same messages make the same file.
    """

    def __init__(self, record: type, sync_marker: bytes) -> None:
        self._shape = _shape(record)
        self._buffer = io.BytesIO()
        codec = "null" if record is Frame else "deflate"
        self._writer = Writer(
            self._buffer, self._shape.schema, codec=codec, sync_interval=_BLOCK_BYTES, sync_marker=sync_marker
        )
        self._header_bytes = self._buffer.tell()
        self._segments: list[Segment] = []
        self._first: int | None = None
        self._position = self._header_bytes

    def add(self, stored: StoredMessage[Any]) -> None:
        """Append a message."""
        if self._first is None:
            self._first = stored.position.offset
        record = None if stored.record is None else (self._shape.name, as_values(stored.record))
        self._writer.write(
            {
                "topic": stored.position.topic,
                "partition": stored.position.partition,
                "offset": stored.position.offset,
                "timestamp_us": in_calendar(stored.timestamp_us),
                "key": stored.key,
                "headers": stored.headers,
                "record": record,
                "value": stored.value,
                "problem": stored.problem,
            }
        )
        if self._buffer.tell() - self._position >= SEGMENT_BYTES:
            self._end_segment()

    def finish(self) -> tuple[bytes, int, tuple[Segment, ...]]:
        """Return the whole file, the checksum of its header, and its segments."""
        self._end_segment()
        data = self._buffer.getvalue()
        return data, zlib.crc32(data[: self._header_bytes]), tuple(self._segments)

    def _end_segment(self) -> None:
        self._writer.flush()
        end = self._buffer.tell()
        if self._first is not None and end > self._position:
            with self._buffer.getbuffer() as view:
                self._segments.append(Segment(self._first, self._position, zlib.crc32(view[self._position : end])))
        self._position, self._first = end, None


def messages(header: bytes, blocks: bytes, record: type[R], codec: Codec) -> Iterator[StoredMessage[R]]:
    """Yield the messages of some blocks of a file, whose header is ``header``.

    Parameters
    ----------
    codec
        Decodes again the values that could not be decoded for the archive: a newer version may know their schema.

    Raises
    ------
    ValueError
        If the header or the blocks are not valid.
    """
    file = avro_file.read_file_header(header)
    if file.size_bytes != len(header):
        raise ValueError("its header does not end where it says")
    writer, reader = _schemas(avro_file.written_schema(file), record)
    for block in avro_file.blocks(file, blocks):
        for values in avro_file.records(block, writer, reader):
            try:
                stored = _stored(values, record, codec)
            except avro_file.UNREADABLE as error:
                raise ValueError(f"{type(error).__name__}: {error}") from error
            yield stored


def _schemas(written: Any, record: type) -> tuple[Any, Any]:
    """Return the schema of the writer, and that of the reader if it differs; both without logical types."""
    shape = _shape(record)
    return written, None if avro_file.without_hints(written) == avro_file.without_hints(shape.wire) else shape.wire


def _stored(values: Any, record: type[R], codec: Codec) -> StoredMessage[R]:
    position = MessagePosition(values["topic"], values["partition"], values["offset"])
    found, value, problem = None, values["value"], values["problem"]
    try:
        if values["record"] is not None:
            found = from_values(record, values["record"])
        elif value is not None:
            found, value, problem = codec.decode(value, record, max_bytes=max_bytes(record)), None, ""
    except CodecError as error:
        if values["record"] is not None:
            raise ValueError(str(error)) from error
    return StoredMessage(position, values["timestamp_us"], values["key"], values["headers"], found, value, problem)
