"""Look into an ONNX file without the ``onnx`` package: is it one, and does it point at other files?

A tensor of an ONNX model may lie in another file, named inside the model: a way to read what the sha256 of the
model does not cover. This walks the protobuf messages that can hold a tensor and nothing else. Field numbers are
those of ``onnx.proto3`` (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

#: Message -> field number -> message in that field, for all fields that lead to a tensor.
_CHILDREN: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_MODEL_IR_VERSION, _MODEL_GRAPH = 1, 7
_MAX_DEPTH = 100


class NotOnnx(ValueError):
    """Bytes that are no ONNX model."""


class ExternalData(ValueError):
    """A model that keeps tensors in other files."""


def check_onnx(data: bytes) -> None:
    """Check that the bytes are one self-contained ONNX model.

    Raises
    ------
    NotOnnx
        If they do not parse as one.
    ExternalData
        If any tensor, also in subgraphs and functions, lies in another file.

    Examples
    --------
    >>> check_onnx(b"hello")
    Traceback (most recent call last):
    models.onnx_bytes.NotOnnx: not an ONNX model
    """
    seen: set[int] = set()
    try:
        for number in _walk(memoryview(data), "Model", 0):
            seen.add(number)
    except (IndexError, OverflowError) as error:
        raise NotOnnx("not an ONNX model: its protobuf ends early") from error
    if not {_MODEL_IR_VERSION, _MODEL_GRAPH} <= seen:
        raise NotOnnx("not an ONNX model")


def _walk(data: memoryview, message: str, depth: int) -> Iterator[int]:
    """Yield the field numbers of the message, after walking what is inside."""
    if depth > _MAX_DEPTH:
        raise NotOnnx("not an ONNX model: nested too deep")
    children, position = _CHILDREN[message], 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        value, start = 0, position
        if wire == 0:
            value, position = _varint(data, position)
        elif wire == 1:
            position += 8
        elif wire == 2:
            length, start = _varint(data, position)
            position = start + length
        elif wire == 5:
            position += 4
        else:
            raise NotOnnx("not an ONNX model")
        if position > len(data) or number == 0:
            raise NotOnnx("not an ONNX model")
        if message == "Tensor" and (number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value)):
            raise ExternalData("keeps tensors in other files, which its sha256 does not cover")
        if wire == 2 and number in children:
            for _ in _walk(data[start:position], children[number], depth + 1):
                pass
        yield number


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise NotOnnx("not an ONNX model")
