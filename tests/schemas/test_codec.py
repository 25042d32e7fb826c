"""Records to bytes and back; whatever else arrives is a CodecError, soon."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import time

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import CodecError, DeadLetter, Decision, Frame
from schemas.avro_values import as_values
from schemas.codec import decode, encode
from schemas.compiled_schemas import RECORDS, compiled, fingerprint_of, fingerprint_of_schema, schema_of
from schemas.errors import (
    EmptyMessage,
    InvalidRecord,
    MessageTooLarge,
    TrailingBytes,
    TruncatedMessage,
    UnknownSchema,
)
from schemas.topics import MAX_MESSAGE_BYTES
from tests.support import records as examples
from tests.support.strategies import records

SCHEMA_ID = 258
IDS = dict(enumerate(RECORDS, SCHEMA_ID))
HEADER = {"single object": 10, "confluent": 5}


def id_of(record: object) -> int:
    return next(key for key, kind in IDS.items() if kind is type(record))


def names(record: object) -> str:
    return type(record).__name__


@given(records)
def test_round_trip_single_object(record):
    assert decode(encode(record), type(record)) == record


@given(records)
def test_round_trip_confluent(record):
    data = encode(record, schema_id=id_of(record))
    assert data[0] == 0
    assert decode(data, type(record), schema_ids=IDS) == record


@given(records)
def test_body_is_the_same_in_both_formats(record):
    assert encode(record)[10:] == encode(record, schema_id=1)[5:]


@given(records)
def test_body_is_as_fastavro_alone_writes_it(record):
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, compiled(type(record)).wire_schema, as_values(record))
    assert encode(record)[10:] == buffer.getvalue()


@pytest.mark.parametrize("image", [b"", b"x" * 63, b"x" * 64, b"x" * 70_000], ids=len)
def test_images_of_all_lengths_are_as_fastavro_alone_writes_them(image):
    frame = dataclasses.replace(examples.FRAME, image=image)
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, compiled(Frame).wire_schema, as_values(frame))
    assert encode(frame)[10:] == buffer.getvalue()


def test_fingerprint_is_the_one_of_the_specification():
    """CRC-64-AVRO of ``"int"`` is 0x7275d51a3f395c8f (Avro's own test data); it travels little endian."""
    assert fingerprint_of_schema("int").hex() == "8f5c393f1ad57572"


@pytest.mark.parametrize("record", examples.ALL, ids=names)
def test_header_is_marker_and_fingerprint(record):
    assert encode(record)[:10] == b"\xc3\x01" + fingerprint_of(type(record))


@pytest.mark.parametrize("record", examples.ALL, ids=names)
def test_confluent_header_is_big_endian(record):
    assert encode(record, schema_id=SCHEMA_ID)[:5] == b"\x00\x00\x00\x01\x02"


@pytest.mark.parametrize("record", examples.ALL, ids=names)
@pytest.mark.parametrize("framing", HEADER)
def test_every_prefix_is_refused(record, framing):
    data = encode(record) if framing == "single object" else encode(record, schema_id=id_of(record))
    for end in range(len(data)):
        with pytest.raises(CodecError) as caught:
            decode(data[:end], type(record), schema_ids=IDS)
        if end >= 2:
            assert caught.type is TruncatedMessage, (end, caught.value)


@pytest.mark.parametrize("record", examples.ALL, ids=names)
def test_a_tail_is_refused(record):
    with pytest.raises(TrailingBytes, match="1 bytes after"):
        decode(encode(record) + b"\x00", type(record))


@pytest.mark.parametrize("data", [None, b""], ids=["tombstone", "empty"])
def test_nothing_is_refused(data):
    with pytest.raises(EmptyMessage):
        decode(data, Frame)


@pytest.mark.parametrize(
    "data",
    [
        b"\xc3\x01" + bytes(8) + encode(examples.FRAME)[10:],
        encode(examples.DECISION),
        encode(examples.FRAME, schema_id=7),
        encode(examples.DECISION, schema_id=SCHEMA_ID + 1),
        b'{"frame_id": "x"}',
        b"\xff\xd8\xff\xe0 a naked JPEG",
    ],
    ids=["fingerprint", "another record", "id", "id of another record", "JSON", "image"],
)
def test_unknown_schemas_are_refused(data):
    with pytest.raises(UnknownSchema):
        decode(data, Frame, schema_ids=IDS)


def test_too_much_is_refused_unread():
    with pytest.raises(MessageTooLarge):
        decode(bytes(MAX_MESSAGE_BYTES + 1), Frame)
    with pytest.raises(MessageTooLarge, match="more than the 20 allowed"):
        decode(encode(examples.FRAME), Frame, max_bytes=20)


@pytest.mark.parametrize(
    "length",
    [-1, -(2**63), 2**31, 2**40, 2**62, 2**63 - 1],
)
def test_lengths_that_lie(length):
    """The first field is a string: give it a length that is negative, or more than there is memory."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, "long", length)
    for record in examples.ALL:
        with pytest.raises(CodecError):
            decode(encode(record)[:10] + buffer.getvalue() + b"abc", type(record))


def test_counts_that_lie():
    """The last field of a dead letter is a map: give it more blocks than there are bytes."""
    data = encode(dataclasses.replace(examples.DEAD_LETTER, headers={}))
    assert data[-1] == 0
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, "long", 2**62)
    with pytest.raises(CodecError):
        decode(data[:-1] + buffer.getvalue(), DeadLetter)


@given(st.binary(max_size=300), st.sampled_from(RECORDS), st.booleans())
@settings(max_examples=500)
def test_random_bodies_are_refused_soon(body, record, single):
    header = b"\xc3\x01" + fingerprint_of(record) if single else b"\x00" + SCHEMA_ID.to_bytes(4, "big")
    started = time.process_time()
    # A few bytes can be a record by chance, hence no pytest.raises.
    with contextlib.suppress(CodecError):
        decode(header + body, record, schema_ids={SCHEMA_ID: record})
    assert time.process_time() - started < 1


@given(st.binary(max_size=100), st.sampled_from(RECORDS))
def test_random_messages_are_refused(data, record):
    with pytest.raises(CodecError):
        decode(data, record, schema_ids=IDS)


@given(st.data())
@settings(max_examples=500)
def test_one_altered_byte_is_another_record_or_an_error(data):
    record = data.draw(st.sampled_from(examples.ALL))
    message = bytearray(encode(record))
    message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CodecError):
        assert type(decode(bytes(message), type(record))) is type(record)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 2**31),
        ("height", -(2**31) - 1),
        ("deadline_ms", 2**31),
        ("sequence", 2**63),
        ("line", None),
        ("line", "\ud800"),
        ("encoding", "WEBP"),
        ("attributes", {"a": 1}),
    ],
)
def test_values_that_do_not_fit_are_not_written(field, value):
    with pytest.raises(InvalidRecord):
        encode(dataclasses.replace(examples.FRAME, **{field: value}))


def test_an_int_of_more_than_32_bits_is_not_read():
    """fastavro would; a reader in Java would not, and the record would differ from one to the other."""
    schema = schema_of(Frame)
    schema["fields"] = [
        {**f, "type": "long"} if f["name"] == "width" else {k: v for k, v in f.items() if k != "default"}
        for f in schema["fields"]
    ]
    values = dataclasses.asdict(dataclasses.replace(examples.FRAME, width=2**40))
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), values)
    with pytest.raises(InvalidRecord, match="32 bits"):
        decode(encode(examples.FRAME)[:10] + buffer.getvalue(), Frame)


def _written(record: Frame | Decision, **changes: object) -> bytes:
    values = {**dataclasses.asdict(record), **changes}
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema_of(type(record)), values)
    return encode(record)[:10] + buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "record"),
    [
        (_written(examples.FRAME, image=None), Frame),
        (_written(examples.FRAME, reference={"uri": "s3://b/k", "size_bytes": 1}), Frame),
        (_written(examples.DECISION, defects=[{"label": "a", "score": 1.0, "box_xywh": [1.0, 2.0]}]), Decision),
    ],
    ids=["neither image nor reference", "image and reference", "box of two numbers"],
)
def test_records_that_break_their_own_rules_are_refused(data, record):
    with pytest.raises(InvalidRecord):
        decode(data, record)
