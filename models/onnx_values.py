"""Inputs and outputs of an ONNX file with their types and shapes, read without running it.

Call `models.onnx_bytes.check_onnx` first. Field numbers are those of ``onnx.proto3``
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from models.protobuf import ParseBudget, fields

#: ``TensorProto.DataType`` -> name of the type.
_TYPES: Mapping[int, str] = {
    1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool", 10: "float16",
    11: "float64", 16: "bfloat16",
}  # fmt: skip
FLOATS = frozenset({"float32", "float16", "float64"})
_GRAPH, _INITIALIZER, _INPUT, _OUTPUT = 7, 5, 11, 12
_MAX_AXES = 16


@dataclass(frozen=True, slots=True)
class OnnxValue:
    """Input or output: name, type (empty if it is no tensor), and shape with None for a free axis."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class OnnxSignature:
    """Inputs without the constants of the graph, outputs, and the program that wrote the file."""

    inputs: tuple[OnnxValue, ...]
    outputs: tuple[OnnxValue, ...]
    producer: str


def read_signature(data: bytes) -> OnnxSignature:
    """Read the inputs and outputs of a file that `check_onnx` found sound.

    Raises
    ------
    Malformed
        If the bytes are not a valid ONNX model.
    """
    budget = ParseBudget()
    constants: set[str] = set()
    found: dict[int, list[OnnxValue]] = {_INPUT: [], _OUTPUT: []}
    producer = {2: "", 3: ""}
    for each in fields(memoryview(data), budget):
        if each.data is None:
            continue
        if each.number in producer:
            producer[each.number] = _text(each.data)[:100]
        elif each.number == _GRAPH:
            for part in fields(each.data, budget):
                if part.data is None:
                    continue
                if part.number in found:
                    found[part.number].append(_value(part.data, budget))
                elif part.number == _INITIALIZER:
                    constants.update(_texts(part.data, 8, budget))
    inputs = tuple(value for value in found[_INPUT] if value.name not in constants)
    return OnnxSignature(inputs, tuple(found[_OUTPUT]), " ".join(filter(None, producer.values())))


def _value(data: memoryview, budget: ParseBudget) -> OnnxValue:
    name, kind, shape = "", 0, []
    for each in fields(data, budget):
        if each.data is None:
            continue
        if each.number == 1:
            name = _text(each.data)
        elif each.number == 2:
            for tensor in _messages(each.data, 1, budget):
                for part in fields(tensor, budget):
                    if part.number == 1:
                        kind = part.value
                    elif part.number == 2 and part.data is not None:
                        shape = [_axis(axis, budget) for axis in _messages(part.data, 1, budget)]
    return OnnxValue(name, _TYPES.get(kind, ""), tuple(shape[:_MAX_AXES]))


def _axis(data: memoryview, budget: ParseBudget) -> int | None:
    size = None
    for each in fields(data, budget):
        size = each.value if each.number == 1 and each.data is None else None
    return size if size is not None and 0 < size < 2**31 else None


def _messages(data: memoryview, number: int, budget: ParseBudget) -> Iterator[memoryview]:
    for each in fields(data, budget):
        if each.number == number and each.data is not None:
            yield each.data


def _texts(data: memoryview, number: int, budget: ParseBudget) -> Iterator[str]:
    yield from map(_text, _messages(data, number, budget))


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")
