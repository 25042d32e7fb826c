"""Check of an ONNX file without the ``onnx`` package: it must be an ONNX model, and must not refer to other files.

A tensor of an ONNX model may lie in another file, named inside the model: the sha256 of the model does not cover that
file. This module walks only the protobuf messages that can contain a tensor. Field numbers are those of ``onnx.proto3``
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
"""

from __future__ import annotations

from collections.abc import Mapping

from models.protobuf import Malformed, ParseBudget, fields

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
    """Bytes that are not an ONNX model."""


class ExternalData(ValueError):
    """Model that keeps tensors in other files."""


def check_onnx(data: bytes) -> None:
    """Check that the bytes are one self-contained ONNX model.

    Raises
    ------
    NotOnnx
        If the bytes do not parse as an ONNX model.
    ExternalData
        If any tensor, also in subgraphs and functions, lies in another file.

    Examples
    --------
    >>> check_onnx(b"hello")
    Traceback (most recent call last):
    models.onnx_bytes.NotOnnx: not an ONNX model: wire type 4
    """
    try:
        seen = _walk(memoryview(data), "Model", 0, ParseBudget())
    except Malformed as error:
        raise NotOnnx(f"not an ONNX model: {error}") from error
    if not {_MODEL_IR_VERSION, _MODEL_GRAPH} <= seen:
        raise NotOnnx("not an ONNX model")


def _walk(data: memoryview, message: str, depth: int, budget: ParseBudget) -> set[int]:
    """Check the message and all messages inside it; return the numbers of its fields."""
    if depth > _MAX_DEPTH:
        raise NotOnnx("not an ONNX model: nested too deep")
    children, seen = _CHILDREN[message], set()
    for field in fields(data, budget):
        seen.add(field.number)
        if message == "Tensor" and (
            field.number == _TENSOR_EXTERNAL_DATA or (field.number == _TENSOR_DATA_LOCATION and field.value)
        ):
            raise ExternalData(
                "keeps tensors in other files, which its sha256 does not cover: export with external_data=False, or "
                "beside those files: python -c \"import onnx; onnx.save(onnx.load('model.onnx'), 'whole.onnx')\""
            )
        if field.data is not None and field.number in children:
            _walk(field.data, children[field.number], depth + 1, budget)
    return seen
