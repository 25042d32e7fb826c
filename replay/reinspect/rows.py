"""Rows of a run as Avro: one frame with its recorded decision, and the decision of each variant.

The bytes of a row are assembled from decisions that are encoded already. (Avro 1.12 specification, "Binary encoding": a
record is its fields one after the other, a union its index and the value.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from fastavro.schema import parse_schema

from replay.past.replayed_frame import ReplayedFrame
from schemas.avro_values import from_values
from schemas.codec import CONFLUENT_MAGIC, encode
from schemas.compiled_schemas import Schema, schema_of, without_logical_types
from schemas.records import Decision
from transport.stored_message import MessagePosition


def row_schema() -> Schema:
    """Return the schema of a row; times are whole microseconds, UTC.

    Examples
    --------
    >>> [field["name"] for field in row_schema()["fields"]]
    ['topic', 'partition', 'offset', 'timestamp_us', 'recorded', 'replayed']
    """
    decision = without_logical_types(schema_of(Decision))
    return {
        "type": "record",
        "name": "ReinspectedFrame",
        "namespace": "inspection.replay",
        "doc": "One frame, what was decided on it, and what each variant of the run decides, in their order",
        "fields": [
            {"name": "topic", "type": "string"},
            {"name": "partition", "type": "int"},
            {"name": "offset", "type": "long"},
            {"name": "timestamp_us", "type": "long"},
            {"name": "recorded", "type": ["null", decision]},
            {"name": "replayed", "type": {"type": "array", "items": f"{decision['namespace']}.{decision['name']}"}},
        ],
    }


@cache
def parsed_row_schema() -> Any:
    """Return `row_schema` as parsed by fastavro."""
    return parse_schema(row_schema())


def row_bytes(
    position: MessagePosition, timestamp_us: int, recorded: Decision | None, replayed: Sequence[bytes]
) -> bytes:
    """Return the bytes of one row.

    Parameters
    ----------
    replayed
        Decisions encoded by `schemas.codec.encode`, with either framing.
    """
    topic = position.topic.encode()
    parts = [long(len(topic)), topic, long(position.partition), long(position.offset), long(timestamp_us)]
    parts.append(b"\x00" if recorded is None else b"\x02" + body(encode(recorded)))
    if replayed:
        parts.append(long(len(replayed)))
        parts.extend(body(encoded) for encoded in replayed)
    parts.append(b"\x00")
    return b"".join(parts)


def body(encoded: bytes) -> bytes:
    """Return the record without its framing: 5 bytes of Confluent's, 10 of Avro's single-object encoding."""
    return encoded[5:] if encoded[:1] == CONFLUENT_MAGIC else encoded[10:]


def long(value: int) -> bytes:
    r"""Encode an Avro long: zigzag, then 7 bits a byte, the lowest first.

    Examples
    --------
    >>> long(0), long(-1), long(1), long(-64), long(64)
    (b'\x00', b'\x01', b'\x02', b'\x7f', b'\x80\x01')
    """
    left = (value << 1) ^ (value >> 63)
    found = bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)


def frame_of(values: dict[str, Any]) -> ReplayedFrame:
    """Return the frame in a row that fastavro has read; ``values`` must not be used afterwards.

    Raises
    ------
    InvalidRecord, ValueError
        If the values are not a valid row.
    """
    recorded = values["recorded"]
    return ReplayedFrame(
        position=MessagePosition(values["topic"], values["partition"], values["offset"]),
        timestamp_us=values["timestamp_us"],
        recorded=None if recorded is None else from_values(Decision, recorded),
        replayed=tuple(from_values(Decision, each) for each in values["replayed"]),
    )
