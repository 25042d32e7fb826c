"""Bound on everything except the payload of a message, before it is decoded."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import DeadLetter, Decision, Defect, DriftEvent, Frame, Label, SignalChange
from schemas.avro_bounds import Measure, TooMuch
from schemas.codec import MAX_REST_BYTES, SINGLE_OBJECT_MARKER, Codec, decode, encode
from schemas.compiled_schemas import compiled, fingerprint_of, released_schemas_of, schema_of
from schemas.errors import CodecError, InvalidRecord, MetadataTooLarge, TruncatedMessage
from tests.support import records as examples

NAMES = ["".join(each) for each in itertools.islice(itertools.product(string.ascii_letters, repeat=4), 120_000)]


def example(record: type):  # type: ignore[no-untyped-def]
    return next(each for each in examples.ALL if type(each) is record)


OVER = {
    "attributes of a frame": dataclasses.replace(example(Frame), attributes=dict.fromkeys(NAMES, "")),
    "one attribute": dataclasses.replace(example(Frame), attributes={"k": "x" * 1_000_000}),
    "a name of a frame": dataclasses.replace(example(Frame), station="s" * 100_000),
    "attributes of a decision": dataclasses.replace(example(Decision), attributes=dict.fromkeys(NAMES, "")),
    "labels": dataclasses.replace(example(Decision), labels=dict.fromkeys(NAMES, 0.5)),
    "defects": dataclasses.replace(example(Decision), defects=(Defect("", 0.5, (0.0, 0.0, 0.0, 0.0)),) * 100_000),
    "signals of a decision": dataclasses.replace(example(Decision), signals=dict.fromkeys(NAMES, 0.5)),
    "signals of an event": dataclasses.replace(example(DriftEvent), signals=(SignalChange("", "", 0, 0, 0),) * 100_000),
    "frames of an event": dataclasses.replace(example(DriftEvent), frames_before=("",) * 200_000),
    "a note": dataclasses.replace(example(Label), note="n" * 100_000),
    "headers of a letter": dataclasses.replace(example(DeadLetter), headers=dict.fromkeys(NAMES, b"")),
}


@pytest.mark.parametrize("name", OVER)
def test_too_much_beside_the_payload_is_refused_at_once(name: str) -> None:
    record = OVER[name]
    value = encode(record)
    best_s = 9.0
    for _ in range(3):
        began_s = time.process_time()
        with pytest.raises(MetadataTooLarge, match="beside the payload"):
            decode(value, type(record))
        best_s = min(best_s, time.process_time() - began_s)
    # The walk covers at most the bytes of the bound; decoding takes many times as long.
    assert best_s < 1.0


def test_the_head_of_a_frame_is_still_known() -> None:
    with pytest.raises(MetadataTooLarge) as caught:
        decode(encode(OVER["attributes of a frame"]), Frame)
    frame = caught.value.record
    assert isinstance(frame, Frame)
    assert (frame.frame_id, frame.part_id, frame.attributes) == (example(Frame).frame_id, "P-77", {})
    with pytest.raises(MetadataTooLarge) as caught:
        decode(encode(OVER["a name of a frame"]), Frame)
    assert caught.value.record is None

    codec = Codec()
    assert codec.decode_head(encode(example(Frame))) == example(Frame)
    assert codec.decode_head(encode(OVER["attributes of a frame"])) == frame
    with pytest.raises(MetadataTooLarge):
        codec.decode_head(encode(OVER["a name of a frame"]))


def test_payload_is_not_counted() -> None:
    frame = dataclasses.replace(example(Frame), image=bytes(10_000_000), attributes={"k": "x" * 60_000})
    assert decode(encode(frame), Frame) == frame
    letter = dataclasses.replace(example(DeadLetter), value=bytes(10_000_000), headers={"h": bytes(2_000_000)})
    assert decode(encode(letter), DeadLetter) == letter


def varint(number: int) -> bytes:
    value = (number << 1) ^ (number >> 63)
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


#: Blocks of a map of strings, as only a hostile writer makes them.
BLOCKS = {
    "a huge count": varint(2**62),
    "a negative count, no size": varint(-(2**62)),
    "a negative count with a size that is wrong": varint(-3) + varint(2**40),
    "the least of all counts": varint(-(2**63)),
    "a number that does not end": b"\xff" * 30,
    "a negative length": varint(1) + varint(-5) + varint(0),
    "many blocks of one": (varint(1) + b"\x00\x00") * 100_000,
    "many blocks with sizes": (varint(-1) + varint(2) + b"\x00\x00") * 100_000,
}


@pytest.mark.parametrize("where", ["before the payload", "behind it"])
@pytest.mark.parametrize("name", BLOCKS)
def test_counts_and_sizes_are_not_believed(name: str, where: str) -> None:
    fields = [{"name": "names", "type": {"type": "map", "values": "string"}}, {"name": "image", "type": "bytes"}]
    body = BLOCKS[name] + bytes(2_000_000)
    if where == "behind it":
        fields.reverse()
        body = varint(1) + b"x" + body
    began_s = time.process_time()
    with pytest.raises((CodecError, TooMuch)):
        Measure({"type": "record", "name": "R", "fields": fields}).rest_bytes(body, 0, 64 * 1024)
    assert time.process_time() - began_s < 1.0


def test_items_without_a_size_are_refused() -> None:
    fields = [{"name": "nulls", "type": {"type": "array", "items": "null"}}, {"name": "image", "type": "bytes"}]
    measure = Measure({"type": "record", "name": "R", "fields": fields})
    with pytest.raises(InvalidRecord, match="no size"):
        measure.rest_bytes(varint(20_000_000) + bytes(9), 0, 1_000)


@pytest.mark.parametrize("record", MAX_REST_BYTES, ids=lambda each: each.__name__)
def test_every_record_and_released_schema_has_a_measure(record: type) -> None:
    schemas = [schema_of(record), *released_schemas_of(record).values()]
    shape = compiled(record)
    assert {shape.fingerprint, *shape.older} == set(shape.measures)
    assert len(schemas) >= 2


@pytest.mark.parametrize("each", examples.ALL, ids=lambda each: type(each).__name__)
def test_the_measure_is_right(each: object) -> None:
    value = encode(each)  # type: ignore[arg-type]
    payload = 0
    if isinstance(each, Frame):
        payload = len(each.image or b"")
    if isinstance(each, DeadLetter):
        payload = len(each.key or b"") + len(each.value or b"") + sum(map(len, each.headers.values()))
    measure = compiled(type(each)).measures[fingerprint_of(type(each))]
    assert measure.rest_bytes(value, 10, len(value)) == len(value) - 10 - payload


@given(st.binary(max_size=300))
def test_any_bytes_are_measured_or_refused(body: bytes) -> None:
    for record in MAX_REST_BYTES:
        measure = compiled(record).measures[fingerprint_of(record)]
        with contextlib.suppress(TooMuch, TruncatedMessage, InvalidRecord):
            assert 0 <= measure.rest_bytes(body, 0, 100) <= 100


def test_garbage_of_the_largest_size_is_refused() -> None:
    head = SINGLE_OBJECT_MARKER + fingerprint_of(Frame)
    for tail in (b"\xff" * 16_000_000, bytes(16_000_000), io.BytesIO(b"\x02" * 16_000_000).getvalue()):
        with pytest.raises(CodecError):
            decode(head + tail, Frame)
