"""Networks whose outputs are a constant plus another one times the mean pixel: real graphs with any form of outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Values = NDArray[Any]
_KINDS = {
    "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64,
    "int32": TensorProto.INT32, "uint8": TensorProto.UINT8,
}  # fmt: skip


def linear_model(
    outputs: Mapping[str, tuple[Values, Values]],
    *,
    shape: tuple[int | str, ...] = (1, 1, 8, 8),
    dtype: str = "float32",
    metadata: Mapping[str, str] | None = None,
    extra: list[onnx.NodeProto] | None = None,
) -> bytes:
    """Return a network with the outputs ``first + second * mean pixel / 255``, each of the type of its first array.

    A white image adds ``second``, a black one adds nothing.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["share"]),
        *(extra or []),
    ]
    constants = {"white": np.float32(255)}
    values = []
    for name, (first, second) in outputs.items():
        kind = _KINDS[first.dtype.name]
        constants |= {f"{name}.first": first.astype(np.float32), f"{name}.second": second.astype(np.float32)}
        nodes += [
            helper.make_node("Mul", ["share", f"{name}.second"], [f"{name}.added"]),
            helper.make_node("Add", [f"{name}.first", f"{name}.added"], [f"{name}.whole"]),
            helper.make_node("Cast", [f"{name}.whole"], [name], to=kind),
        ]
        values.append(helper.make_tensor_value_info(name, kind, first.shape))
    graph = helper.make_graph(
        nodes, "linear", [helper.make_tensor_value_info("image", _KINDS[dtype], shape)], values,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="tests")
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def scored(first: Any, score_at: Any, dtype: str = "float32") -> tuple[Values, Values]:
    """Return a constant output, and its change for a white image: 1 at each place that is True in ``score_at``."""
    return np.asarray(first, dtype), np.asarray(score_at, np.float32)
