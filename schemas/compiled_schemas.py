"""Schemas that a reader of this version knows: the current schema of each record, and all released schemas.

Writers of this version use ``schemas/avro/<record>.avsc``. ``schemas/avro/released/<record>.v<n>.avsc`` is a copy that
is made at each release and never edited again: topics outlive programs, and a message written by any released version
must stay readable.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib.resources import files
from typing import Any

from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from schemas.avro_bounds import Measure
from schemas.records import AuditEvent, DeadLetter, Decision, DriftEvent, Frame, Label

_AVSC: Mapping[type, str] = {
    Frame: "frame",
    Decision: "decision",
    DeadLetter: "dead_letter",
    Label: "label",
    DriftEvent: "drift_event",
    AuditEvent: "audit_event",
}

#: Record classes of the messages in topics.
RECORDS: tuple[type, ...] = tuple(_AVSC)

Schema = dict[str, Any]


def schema_of(record: type) -> Schema:
    """Return the shipped Avro schema of a record class, as parsed JSON.

    Examples
    --------
    >>> schema_of(Frame)["name"]
    'Frame'
    """
    schema: Schema = json.loads(_avro().joinpath(f"{_AVSC[record]}.avsc").read_text(encoding="utf-8"))
    return schema


def released_schemas_of(record: type) -> dict[int, Schema]:
    """Return the released versions of a record's schema by number, oldest first.

    Examples
    --------
    >>> released_schemas_of(Frame)[1]["name"]
    'Frame'
    """
    found = {}
    for path in _avro().joinpath("released").iterdir():
        name, _, version = path.name.removesuffix(".avsc").rpartition(".v")
        if name == _AVSC[record]:
            found[int(version)] = json.loads(path.read_text(encoding="utf-8"))
    return dict(sorted(found.items()))


def fingerprint_of_schema(schema: Schema) -> bytes:
    """Return the CRC-64-AVRO of a schema's canonical form: 8 bytes, little endian, as in messages."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def fingerprint_of(record: type) -> bytes:
    """Return the fingerprint of the current schema of a record class."""
    return compiled(record).fingerprint


@dataclasses.dataclass(frozen=True, slots=True)
class Compiled:
    """Data for encoding and decoding one record class, computed once.

    Parameters
    ----------
    wire_schema
        Current schema, parsed, without logical types.
    fingerprint
        Fingerprint of the current schema.
    older
        Parsed schemas of the released versions that differ from the current one, by fingerprint.
    enums
        Enum classes by field.
    ints
        Fields of Avro type ``int``: 32 bits.
    around_image
        Schemas of the fields before and after the bytes of an image, see `_around_image`; None for a record without
        an ``image``.
    measures
        Measures of the size of a message before it is decoded, by fingerprint.
    """

    wire_schema: Any
    fingerprint: bytes
    older: Mapping[bytes, Any]
    enums: Mapping[str, type[StrEnum]]
    ints: tuple[str, ...]
    around_image: tuple[Any, Any] | None
    measures: Mapping[bytes, Measure]

    def knows(self, found: bytes) -> bool:
        """Return True if a fingerprint is that of the current schema or of a released schema."""
        return found == self.fingerprint or found in self.older


def compile_schemas(record: type, current: Schema, released: Sequence[Schema]) -> Compiled:
    """Compute the data with which the codec writes ``current``, and reads it and the released versions."""
    own = fingerprint_of_schema(current)
    older = {fingerprint_of_schema(schema): schema for schema in released}
    older.pop(own, None)
    hints = typing.get_type_hints(record)
    return Compiled(
        wire_schema=_for_the_wire(current),
        fingerprint=own,
        older={found: _for_the_wire(schema) for found, schema in older.items()},
        enums={n: h for n, h in hints.items() if isinstance(h, type) and issubclass(h, StrEnum)},
        ints=tuple(f["name"] for f in current["fields"] if f["type"] == "int" or f["type"] == ["null", "int"]),
        around_image=_around_image(current),
        measures={fingerprint_of_schema(schema): Measure(schema) for schema in (*released, current)},
    )


_compiled_by_type: dict[type, Compiled] = {}


def compiled(record: type) -> Compiled:
    """Return the data that the codec needs for a record class; computed at the first call.

    Examples
    --------
    >>> compiled(Frame).knows(fingerprint_of(Frame)), compiled(Frame).knows(fingerprint_of(Decision))
    (True, False)
    """
    # A plain dict: mypy does not accept a record class as the hashable that functools.cache needs.
    found = _compiled_by_type.get(record)
    if found is None:
        found = compile_schemas(record, schema_of(record), list(released_schemas_of(record).values()))
        _compiled_by_type[record] = found
    return found


def _avro() -> Any:
    return files("schemas").joinpath("avro")


def _around_image(schema: Schema) -> tuple[Any, Any] | None:
    """Return the schemas of the fields before and after the bytes of an image; None if the record has no image.

    The fields of an Avro record are encoded one after the other. Bytes in a union follow two longs: the number of the
    branch, and the number of bytes. These two longs end the first schema, as ``image_branch`` and ``image_size``.
    """
    at = next((number for number, field in enumerate(schema["fields"]) if field["name"] == "image"), None)
    if at is None or schema["fields"][at]["type"] != ["null", "bytes"]:
        return None
    counts = [{"name": name, "type": "long"} for name in ("image_branch", "image_size")]
    before, after = [*schema["fields"][:at], *counts], schema["fields"][at + 1 :]
    return _for_the_wire({**schema, "fields": before}), _for_the_wire({**schema, "fields": after})


def _for_the_wire(schema: Schema) -> Any:
    # The bytes stay the same; fastavro no longer converts every timestamp to a datetime and back.
    return parse_schema(without_logical_types(schema))


def without_logical_types(node: Any) -> Any:
    """Return a schema that reads and writes the same bytes, with plain numbers for times.

    Examples
    --------
    >>> without_logical_types({"type": "long", "logicalType": "timestamp-micros"})
    {'type': 'long'}
    """
    if isinstance(node, dict):
        return {k: without_logical_types(v) for k, v in node.items() if k != "logicalType"}
    return [without_logical_types(item) for item in node] if isinstance(node, list) else node
