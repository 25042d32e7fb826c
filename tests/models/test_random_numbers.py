"""Graphs that give the same picture other numbers do not load: a replay would decide otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import load_model, random_numbers
from models.onnx_graph import Graph, Node, OnnxModel, read_model
from models.package_report import check_package
from models.random_numbers import random_operators
from tests.support.agreement import LOGITS, TWO, node, outputs, refused, scores
from tests.support.packages import MakePackage, graph_bytes

RATIO, ON, OFF = np.array(0.5, np.float32), np.array(True), np.array(False)
MEAN = node("ReduceMean", ["dropped"], ["logit"], axes=[2, 3], keepdims=0)
value = helper.make_tensor_value_info
DROPOUT = {"Dropout in training mode"}


def dropping(*nodes: onnx.NodeProto, **constants: np.ndarray) -> bytes:
    """Return a classifier whose logit is the mean of ``dropped``, which the nodes make of ``image``."""
    used = {name for each in nodes for name in each.input} & {"ratio"}
    return graph_bytes([*nodes, MEAN], {"logit": ("n", 1)}, constants=dict.fromkeys(used, RATIO) | constants)


def dropout(training: str = "training", ratio: str = "ratio", **attributes: Any) -> onnx.NodeProto:
    return node("Dropout", ["image", ratio, training], ["dropped"], **attributes)


def typed(data: bytes) -> bytes:
    """Keep the truth in ``int32_data``, as some exporters write it."""
    model = onnx.load_model_from_string(data)
    [mode] = (each for each in model.graph.initializer if each.name == "training")
    mode.CopyFrom(helper.make_tensor("training", TensorProto.BOOL, [], numpy_helper.to_array(mode).reshape(1)))
    assert mode.int32_data
    return bytes(model.SerializeToString())


def older(data: bytes, opset: int) -> bytes:
    model = onnx.load_model_from_string(data)
    model.opset_import[0].version = opset
    return bytes(model.SerializeToString())


def in_a_branch(training: np.ndarray) -> bytes:
    """Keep the dropout in a branch, and its training mode outside of it."""
    branch = helper.make_graph([dropout()], "branch", [], [value("dropped", TensorProto.FLOAT, ["n", 1, 8, 8])])
    choice = node("If", ["yes"], ["dropped"], then_branch=branch, else_branch=branch)
    return dropping(choice, yes=np.bool_(True), ratio=RATIO, training=training)


def in_a_function(training: np.ndarray) -> bytes:
    """Keep the dropout in a function that is given its training mode."""
    model = onnx.load_model_from_string(dropping(node("Identity", ["image"], ["dropped"]), t=training, r=RATIO))
    opset = helper.make_opsetid("", 17)
    body = [node("Cast", ["mode"], ["training"], to=TensorProto.BOOL), dropout(ratio="by")]
    function = helper.make_function("ours", "Drop", ["image", "by", "mode"], ["dropped"], body, [opset])
    model.graph.node[0].CopyFrom(node("Drop", ["image", "r", "t"], ["dropped"], domain="ours"))
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("ours", 1))
    return bytes(model.SerializeToString())


#: Graphs with dropout that is on.
TRAINING = {
    "constant": dropping(dropout(), training=ON),
    "seeded": dropping(dropout(seed=3), training=ON),
    "without a ratio": dropping(dropout(ratio=""), training=ON),
    "opset 12": older(typed(dropping(dropout(), training=ON)), 12),
    "in int32_data": typed(dropping(dropout(), training=ON)),
    "node": dropping(
        node("Constant", [], ["training"], value=numpy_helper.from_array(ON)), dropout()
    ),
    "computed": dropping(node("Not", ["off"], ["training"]), dropout(), off=OFF),
    "of the picture": dropping(
        node("ReduceMax", ["image"], ["top"], keepdims=0), node("Cast", ["top"], ["training"], to=TensorProto.BOOL),
        dropout(),
    ),
    "branch": in_a_branch(ON),
    "function": in_a_function(ON),
}  # fmt: skip


@pytest.mark.parametrize("data", TRAINING.values(), ids=TRAINING.keys())
def test_dropout_in_training_mode_is_refused(make_package: MakePackage, data: bytes) -> None:
    line = refused(make_package(data))
    assert "yaml:5: file: the graph draws random numbers (Dropout in training mode)" in line
    assert "model.eval()" in line
    assert "`overrule: [random]`" in line
    found = {check.name: check for check in check_package(make_package(data)).checks}
    assert found["no random operators"].outcome == "error"


#: Graphs with dropout that is off.
INFERENCE = {
    "constant": dropping(dropout(), training=OFF),
    "in int32_data": typed(dropping(dropout(), training=OFF)),
    "copied": dropping(node("Identity", ["off"], ["training"]), dropout(), off=OFF),
    "one input": dropping(node("Dropout", ["image"], ["dropped"])),
    "left out": dropping(node("Dropout", ["image", "ratio", ""], ["dropped"])),
    "branch": in_a_branch(OFF),
    "function": in_a_function(OFF),
}


@pytest.mark.parametrize("data", INFERENCE.values(), ids=INFERENCE.keys())
def test_dropout_for_inference_loads(make_package: MakePackage, data: bytes) -> None:
    assert load_model(make_package(data))


@pytest.mark.parametrize(("op", "place"), [("BitmaskDropout", 2), ("BiasDropout", 4), ("BitmaskBiasDropout", 4)])
def test_dropout_of_onnx_runtime_is_known(op: str, place: int) -> None:
    """The CPU provider has no kernel for them, so that they cannot run here."""
    inputs = [*"abcde"[:place], "training"]
    model = onnx.load_model_from_string(dropping(dropout(), training=ON))
    model.graph.node[0].CopyFrom(node(op, inputs, ["dropped"], domain="com.microsoft"))
    assert random_operators(read_model(model.SerializeToString())) == {f"com.microsoft::{op} in training mode"}


def test_an_inner_name_hides_an_outer_constant() -> None:
    inner = Graph((Node("Not", ("off",), ("training",)), Node("Dropout", ("x", "", "training"), ("y",))), (), ("y",))
    outer = Graph((Node("If", ("yes",), ("y",), {"then_branch": inner}),), constants={"training": (0.0,)})
    assert random_operators(OnnxModel(outer, {}, {})) == DROPOUT


def test_a_hostile_graph_ends_the_search() -> None:
    deep = {f"f{n}": Graph((Node(f"f{n + 1}", ("x",), ("a",)), Node(f"f{n + 1}", ("a",), ("y",))), ("x",), ("y",))
            for n in range(60)}  # fmt: skip
    assert not random_operators(OnnxModel(Graph((Node("f0", ("image",), ("y",)),)), deep, {}))


@pytest.mark.parametrize("op", ["RandomNormalLike", "Bernoulli"])
def test_an_unknown_random_operator_shows_in_a_second_run(
    make_package: MakePackage, monkeypatch: pytest.MonkeyPatch, op: str
) -> None:
    nodes = [*LOGITS, node("Sigmoid", ["logits"], ["near"]), node(op, ["near"], ["noise"])]
    constants: dict[str, np.ndarray] = {}
    if op == "Bernoulli":  # of the pixels, each with its own weight: two sums are never the same by chance
        constants = {"half": np.float32([0.5]), "weights": np.sqrt(np.arange(1, 65, dtype=np.float32)).reshape(8, 8)}
        nodes = [
            node("Sigmoid", ["image"], ["near"]), node("Mul", ["near", "half"], ["chance"]),
            node("Bernoulli", ["chance"], ["drawn"]), node("Mul", ["drawn", "weights"], ["weighted"]),
            node("ReduceMean", ["weighted"], ["noise"], axes=[2, 3], keepdims=0), *LOGITS,
        ]  # fmt: skip
    nodes.append(node("Add", ["logits", "noise"], ["p"]))
    package: dict[str, Any] = {"outputs": outputs("softmax"), **TWO}
    data = scores(nodes, 2, **constants)
    monkeypatch.setattr(random_numbers, "_RANDOM", frozenset())
    line = refused(make_package(data, **package))
    assert "yaml:5: file: the same made-up picture gets other numbers (scores)" in line
    assert "model.eval()" in line
    assert "`overrule: [random]`" in line
    assert load_model(make_package(data, **package, overrule=["random"]))
