"""Conversion between records and the values that fastavro reads and writes."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping
from typing import Any, TypeVar

from schemas.compiled_schemas import Compiled, compiled
from schemas.errors import InvalidRecord
from schemas.records import (
    AuditEvent,
    DeadLetter,
    Decision,
    Defect,
    DriftEvent,
    Frame,
    ImageReference,
    Label,
    Record,
    SignalChange,
)

R = TypeVar("R", Frame, Decision, DeadLetter, Label, DriftEvent, AuditEvent)
_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1


def _getter(record: type) -> tuple[tuple[str, ...], operator.attrgetter[tuple[Any, ...]]]:
    """Return the names of the fields of a record class, and a getter of all their values.

    The getter is three times as fast as one access after the other.
    """
    found = _getters.get(record)
    if found is None:
        names = tuple(f.name for f in dataclasses.fields(record))
        found = _getters[record] = names, operator.attrgetter(*names)
    return found


_getters: dict[type, tuple[tuple[str, ...], operator.attrgetter[tuple[Any, ...]]]] = {}


def as_values(record: Record) -> dict[str, Any]:
    """Return the values of a record in the form that fastavro writes with the record's schema.

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
    """Return a record made of the values that fastavro read with the record's schema, without logical types.

    ``values`` is changed and must not be used afterwards.

    Raises
    ------
    InvalidRecord
        If the record's own rules refuse the values.
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
    # fastavro reads and writes an "int" as a "long". Readers in other languages fail on more than 32 bits.
    for name in shape.ints:
        value = values[name]
        if value is not None and not _INT_MIN <= value <= _INT_MAX:
            raise InvalidRecord(f"{name} is {value}, more than the 32 bits of an Avro int")
