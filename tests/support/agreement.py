"""Graphs that contradict their manifest, and the line that refuses them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from models import ModelPackageError, load_model
from tests.support.packages import graph_bytes

node = helper.make_node
FLOATS = {"centre": np.float32([100]), "width": np.float32([10])}
INPUT = {"name": "image", "width": 8, "height": 8, "colour": "grey", "dtype": "float32"}
TWO = {"labels": ["good", "bad"], "good_label": "good"}
Z = [
    node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
    node("Sub", ["mean", "centre"], ["above"]),
    node("Div", ["above", "width"], ["z"]),
]
LOGITS = [*Z, node("Neg", ["z"], ["not_z"]), node("Concat", ["not_z", "z"], ["logits"], axis=1)]


def scores(nodes: list[onnx.NodeProto], count: int, **constants: np.ndarray) -> bytes:
    """Return a classifier whose last node makes ``p``."""
    used = {name for each in nodes for name in each.input}
    given = {name: value for name, value in (FLOATS | constants).items() if name in used}
    return graph_bytes(nodes, {"p": ("n", count)}, constants=given)


def described(data: bytes, **metadata: str) -> bytes:
    model = onnx.load_model_from_string(data)
    helper.set_model_props(model, metadata)
    return bytes(model.SerializeToString())


def outputs(activation: str, **names: str) -> dict[str, Any]:
    return {"names": names or {"scores": "p"}, "activation": activation}


def refused(folder: Any) -> str:
    with pytest.raises(ModelPackageError) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(shape: tuple[int, ...]) -> bytes:
    nodes = [
        node("ReduceMean", ["image"], ["m"], axes=[1, 2, 3], keepdims=1), node("Squeeze", ["m", "axis"], ["m3"]),
        node("Mul", ["m3", "little"], ["p"]),
    ]  # fmt: skip
    constants = {"little": np.full(shape, 1e-4, np.float32), "axis": np.int64([1])}
    return graph_bytes(nodes, {"p": shape}, constants=constants, shape=(1, 1, 8, 8))
