"""Files of SavedModel, written by the wire format of Protocol Buffers: no TensorFlow is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

FLOAT, UINT8, STRING, INT64 = 1, 4, 7, 9
IMAGE: Sequence[int] = (-1, 64, 64, 1)


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _tensor(dtype: int, shape: Sequence[int]) -> bytes:
    axes = b"".join(_message(2, _number(1, axis)) for axis in shape)
    return _message(1, b"serving_default_x:0") + _number(2, dtype) + _message(3, axes)


def saved_model(
    folder: Path,
    signatures: Mapping[str, Mapping[str, tuple[int, Sequence[int]]]],
    operators: Iterable[str] = ("VarHandleOp", "StatefulPartitionedCall"),
    *,
    has_variables: bool = True,
) -> Path:
    """Write a SavedModel with these signatures: name -> input -> type and shape."""
    nodes = b"".join(_message(1, _message(1, b"n") + _message(2, op.encode())) for op in operators)
    entries = b""
    for name, inputs in signatures.items():
        given = b"".join(
            _message(1, _message(1, key.encode()) + _message(2, _tensor(*tensor))) for key, tensor in inputs.items()
        )
        entries += _message(5, _message(1, name.encode()) + _message(2, given))
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(_number(1, 1) + _message(2, _message(2, nodes) + entries))
    if has_variables:
        (folder / "variables").mkdir()
        (folder / "variables" / "variables.index").write_bytes(b"")
    return folder
