"""Manifests that contradict their ONNX file: they do not load, and the line names the change or the overrule."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models import load_model
from models.graph_walk import ends_in
from models.onnx_graph import read_model
from models.preprocess import to_tensor
from tests.support.agreement import FLOATS, INPUT, LOGITS, TWO, Z, described, node, outputs, refused, rows, scores
from tests.support.packages import MakePackage, graph_bytes, mean_classifier

#: Last nodes of a graph -> kind of its end.
FINISHED = {
    "softmax": ([*LOGITS, node("Softmax", ["logits"], ["p"], axis=1)], 2, "softmax"),
    "sigmoid": ([*Z, node("Sigmoid", ["z"], ["p"])], 1, "sigmoid"),
    "hard sigmoid": ([*Z, node("HardSigmoid", ["z"], ["p"])], 1, "sigmoid"),
    "by way of others": (
        [
            *LOGITS, node("Softmax", ["logits"], ["a"], axis=1), node("Identity", ["a"], ["b"]),
            node("Cast", ["b"], ["c"], to=TensorProto.DOUBLE), node("Cast", ["c"], ["d"], to=TensorProto.FLOAT),
            node("Reshape", ["d", "shape"], ["e"]), node("Transpose", ["e"], ["f"], perm=[0, 2, 1]),
            node("Squeeze", ["f", "axis"], ["g"]), node("Clip", ["g"], ["p"]),
        ],
        2, "softmax",
    ),
    "in parts": (
        [
            *Z, node("Sigmoid", ["z"], ["s"]), node("Sub", ["one", "s"], ["t"]),
            node("Concat", ["t", "s"], ["p"], axis=1),
        ],
        2, "sigmoid",
    ),
    "by arithmetic": (  # 1 / (1 + exp(-z)): no operator shows it, the numbers do
        [
            *Z, node("Neg", ["z"], ["m"]), node("Exp", ["m"], ["e"]), node("Add", ["e", "one"], ["f"]),
            node("Reciprocal", ["f"], ["p"]),
        ],
        1, "finished before the manifest applies",
    ),
}  # fmt: skip
SHAPES = {"shape": np.int64([-1, 2, 1]), "axis": np.int64([1]), "one": np.float32([1])}


@pytest.mark.parametrize(("nodes", "count", "said"), FINISHED.values(), ids=FINISHED.keys())
def test_an_activation_is_not_applied_twice(
    make_package: MakePackage, nodes: list[onnx.NodeProto], count: int, said: str
) -> None:
    data, labels = scores(nodes, count, **SHAPES), TWO if count == 2 else {}
    for activation in ("softmax", "sigmoid") if count == 2 else ("sigmoid",):
        line = refused(make_package(data, outputs=outputs(activation), **labels))
        assert "outputs.activation: " in line
        assert said in line
        assert "`activation: none`" in line
        assert load_model(make_package(data, outputs=outputs(activation), overrule=["activation"], **labels))
    assert load_model(make_package(data, outputs=outputs("none"), **labels))


def test_raw_scores_need_an_activation(make_package: MakePackage) -> None:
    line = refused(make_package(outputs=outputs("none", scores="logit")))
    assert "outputs.activation: the scores of made-up pictures are from -10 to 15.5" in line
    assert "`activation: softmax`" in line
    logs = scores([*LOGITS, node("LogSoftmax", ["logits"], ["p"], axis=1)], 2)
    assert "say `activation: softmax`" in refused(make_package(logs, outputs=outputs("sigmoid"), **TWO))
    assert load_model(make_package(logs, outputs=outputs("softmax"), **TWO))


def test_what_overrules_changes_no_recipe(make_package: MakePackage) -> None:
    plain, other = load_model(make_package()), load_model(make_package(overrule=["labels", "activation"]))
    assert plain.recipe_revision == other.recipe_revision
    assert "overrule.0: " in refused(make_package(overrule=["colour"]))


def subgraph_model(kind: str) -> bytes:
    """Return a model whose ``p`` comes from a Sigmoid in a branch or a function, behind a node that passes it on."""
    value = helper.make_tensor_value_info
    if kind == "function":
        body = [node("Sigmoid", ["x"], ["y"])]
        opset = [helper.make_opsetid("", 17)]
        function = helper.make_function("ours", "Squash", ["x"], ["y"], body, opset)
        nodes = [*Z, node("Squash", ["z"], ["s"], domain="ours"), node("Identity", ["s"], ["p"])]
        model = onnx.load_model_from_string(scores([*Z, node("Identity", ["z"], ["p"])], 1))
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.functions.append(function)
        model.opset_import.append(helper.make_opsetid("ours", 1))
        return bytes(model.SerializeToString())
    branch = helper.make_graph(
        [node("Sigmoid", ["z"], ["r"])], "branch", [], [value("r", TensorProto.FLOAT, ["n", 1])]
    )  # fmt: skip
    choice = node("If", ["yes"], ["s"], then_branch=branch, else_branch=branch)
    return scores([*Z, choice, node("Identity", ["s"], ["p"])], 1, yes=np.bool_(True))


@pytest.mark.parametrize("kind", ["function", "branch"])
def test_the_walk_goes_into_functions_and_branches(make_package: MakePackage, kind: str) -> None:
    data = subgraph_model(kind)
    assert ends_in(read_model(data), "p") == {"Sigmoid"}
    assert "ends in sigmoid" in refused(make_package(data, outputs=outputs("sigmoid")))
    assert load_model(make_package(data, outputs=outputs("none")))


def test_a_swish_is_no_sigmoid() -> None:
    data = scores([*Z, node("Sigmoid", ["z"], ["s"]), node("Mul", ["z", "s"], ["p"])], 1)
    assert ends_in(read_model(data), "p") == {"Mul"}


PROBABILITIES = scores([*LOGITS, node("Softmax", ["logits"], ["p"], axis=1)], 2)
#: Metadata of the file -> line about the labels good, bad; None where nothing differs.
LABELS = {
    "names": ({"names": "{0: 'bad', 1: 'good'}"}, "`names` has bad, good, the manifest has good, bad"),
    "out of order": ({"names": "{1: 'good', 0: 'bad'}"}, "`names` has bad, good"),
    "json": ({"labels": '["bad", "good"]'}, "`labels` has bad, good"),
    "commas": ({"class_names": "bad, good"}, "`class_names` has bad, good"),
    "json object": ({"id2label": '{"0": "bad", "1": "good"}'}, "`id2label` has bad, good"),
    "turned round": ({"label2id": '{"good": 1, "bad": 0}'}, "`label2id` has bad, good"),
    "more": ({"names": "{0: 'good', 1: 'bad', 2: 'odd'}"}, "`names` has good, bad, odd"),
    "of a folder": ({"class_to_idx": '{"bad": 0, "good": 1}'}, "`class_to_idx` has bad, good"),
    "signs in the key": ({"Class-Names ": "bad;good"}, "`Class-Names ` has bad, good"),
    "numbered lines": ({"names": "0: bad\n1: good"}, "`names` has bad, good"),
    "bars and a mark": ({"labels": "\ufeffbad|good"}, "`labels` has bad, good"),
    "numbers as text": ({"names": '{"0.0": "bad", " 1": "good"}'}, "`names` has bad, good"),
    "bytes": ({"names": "[b'bad', b'good']"}, "`names` has bad, good"),
    "inside": ({"config": '{"model": {"id2label": {"0": "bad", "1": "good"}}}'}, "`id2label` has bad, good"),
    "ids": ({"categories": '[{"id": 1, "name": "good"}, {"id": 0, "name": "bad"}]'}, "`categories` has bad, good"),
    "another key": ({"made_for": "bad, good"}, "`made_for` has bad, good"),
    "the second of two": ({"names": "['good', 'bad']", "vocab": "['bad', 'good']"}, "`vocab` has bad, good"),
    "count": ({"nc": "3"}, "`nc` says 3 classes, the manifest has 2 labels"),
    "the same": ({"names": "{0: 'good', 1: 'bad'}", "nc": "2"}, None),
    "the same, numbered": ({"names": "0: good\n1: bad"}, None),
    "other names elsewhere": ({"authors": "bad, good, others", "license": "a, b"}, None),
    "no labels": ({"names": "{0: ", "classes": "((((((" * 900, "labels": "[1, 2]"}, None),
}


@pytest.mark.parametrize(("metadata", "said"), LABELS.values(), ids=LABELS.keys())
def test_labels_are_those_of_the_file(make_package: MakePackage, metadata: dict[str, str], said: str | None) -> None:
    data = described(PROBABILITIES, **metadata)
    if said is not None:
        line = refused(make_package(data, outputs=outputs("none"), **TWO))
        assert "labels: the file's metadata" in line
        assert said in line
        assert "`overrule: [labels]`" in line
    overrule = [] if said is None else ["labels"]
    assert load_model(make_package(data, outputs=outputs("none"), overrule=overrule, **TWO))


MORE = {
    "task": ({"task": "detect"}, {}, "task: the file's metadata says task detect, the manifest classification"),
    "turned boxes": ({"task": "obb"}, {}, "turned boxes are not read"),
    "size": ({"imgsz": "[16, 8]"}, {}, "width 8, height 16"),
    "stride": ({"stride": "32"}, {}, "8 is no multiple of the file's `stride` 32"),
    "colours": ({"channel_order": "RGB"}, {}, "`channel_order` says rgb, the manifest grey"),
    "scale": ({"author": "Ultralytics"}, {}, "take pixels from 0 to 1, the manifest scales by 1"),
}


@pytest.mark.parametrize(("metadata", "changes", "said"), MORE.values(), ids=MORE.keys())
def test_what_else_the_file_says(
    make_package: MakePackage, metadata: dict[str, str], changes: dict[str, Any], said: str
) -> None:
    line = refused(make_package(described(PROBABILITIES, **metadata), outputs=outputs("none"), **TWO, **changes))
    assert said in line
    assert "`overrule: [" in line


def test_pixels_are_not_scaled_twice(make_package: MakePackage) -> None:
    first = [node("Mul", ["image", "per_255"], ["x"]), node("Sub", ["x", "shift"], ["y"])]
    layers = [node("ReduceMean", ["y"], ["m"], axes=[2, 3], keepdims=0), node("Sub", ["m", "centre"], ["w"]),
              node("Div", ["w", "width"], ["p"])]  # fmt: skip
    constants = {"per_255": np.float32([1 / 255]), "shift": np.float32([0.4]), "centre": np.float32([0.1])}
    data = scores([*first, *layers], 1, **constants, width=np.float32([0.01]))
    scaled = INPUT | {"scale": 1 / 255}
    line = refused(make_package(data, outputs=outputs("sigmoid"), input=scaled))
    assert "input.scale: the graph divides its pixels by 255 itself: leave scale" in line
    shifted = INPUT | {"mean": [0.4]}
    assert "input.mean: the graph subtracts a mean" in refused(
        make_package(data, outputs=outputs("sigmoid"), input=shifted)
    )
    assert load_model(make_package(data, outputs=outputs("sigmoid")))
    assert load_model(make_package(data, outputs=outputs("sigmoid"), input=scaled, overrule=["normalisation"]))


def test_a_decision_is_no_score(make_package: MakePackage) -> None:
    nodes = [*Z, node("Greater", ["z", "centre"], ["g"]), node("Cast", ["g"], ["p"], to=TensorProto.FLOAT)]
    assert "is a decision of the graph (Greater)" in refused(make_package(scores(nodes, 1), outputs=outputs("none")))


ROWS = {
    "finished": ((1, 300, 6), 2, {}, "end2end=False"),
    "finished, and it fits": ((1, 300, 6), 296, {}, "end2end=False"),
    "finished and turned": ((1, 300, 7), 296, {}, "end2end=False"),
    "turned": ((1, 7, 300), 2, {}, "an angle (turned boxes are not read"),
    "turned, and it fits": ((1, 7, 300), 3, {"task": "obb"}, "turned boxes are not read"),
    "square": ((1, 20, 20), 16, {}, "`overrule: [rows]`"),
    "rows of scores": ((1, 300, 20), 16, {}, "transpose it to"),
    "objectness": ((1, 300, 21), 16, {}, "an objectness"),
    "end to end": ((1, 20, 300), 16, {"end2end": "True"}, "end2end=False"),
    "masks": ((1, 300, 38), 296, {}, "end2end=False"),
    "few boxes": ((1, 100, 8), 96, {}, "end2end=False"),
    "nms": ((1, 20, 300), 16, {"args": "{'nms': True}"}, "nms=False"),
}


@pytest.mark.parametrize(("shape", "count", "metadata", "said"), ROWS.values(), ids=ROWS.keys())
def test_finished_rows_are_no_columns(
    make_package: MakePackage, shape: tuple[int, ...], count: int, metadata: dict[str, str], said: str
) -> None:
    changes: dict[str, Any] = {
        "task": "detection", "labels": [f"l{n}" for n in range(count)], "outputs": outputs("none", predictions="p"),
        "detection": {"score_threshold": 0.25, "box": "cxcywh"},
    }  # fmt: skip
    assert said in refused(make_package(described(rows(shape), **metadata), **changes))
    if shape[1] == 4 + count:
        assert load_model(make_package(described(rows(shape), **metadata), overrule=["rows", "task"], **changes))


def half(data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.node[0].input[0] = "as_float"
    model.graph.node.insert(0, node("Cast", ["image"], ["as_float"], to=TensorProto.FLOAT))
    return bytes(model.SerializeToString())


def test_half_precision_is_read(make_package: MakePackage) -> None:
    model = load_model(make_package(half(mean_classifier()), input=INPUT | {"dtype": "float16", "scale": 0.5}))
    tensor = to_tensor(np.full((8, 8), 255, np.uint8), (8, 8), model.manifest.input)[0]
    assert tensor.dtype == np.float16
    # (127.5 - 100) / 10
    assert float(model.run(tensor)["scores"][0, 0]) == 2.75


def second_input(data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    model.graph.input.append(helper.make_tensor_value_info("sizes", TensorProto.INT64, ["n", 2]))
    return bytes(model.SerializeToString())


def shaped(*nodes: onnx.NodeProto, shape: tuple[Any, ...]) -> bytes:
    given = FLOATS | {"axis": np.int64([1]), "axes": np.int64([2, 3])}
    used = {name for each in nodes for name in each.input}
    return graph_bytes(nodes, {"p": shape}, constants={name: given[name] for name in used & set(given)})


P = outputs("none")
CURES: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "half precision": (half(mean_classifier()), {}, "say dtype: float16"),
    "two inputs": (second_input(mean_classifier()), {}, "make the others ('sizes') constants"),
    "four axes": (
        shaped(*LOGITS, node("Unsqueeze", ["logits", "axes"], ["p"]), shape=("n", 2, 1, 1)),
        {"outputs": outputs("softmax"), **TWO}, "squeeze the other axes",
    ),
    "one number": (
        shaped(*Z, node("Sigmoid", ["z"], ["s"]), node("Squeeze", ["s", "axis"], ["p"]), shape=("n",)),
        {"outputs": P, **TWO}, "reshape it to (n, 1)",
    ),
    "batch of two": (mean_classifier(shape=(2, 1, 8, 8)), {}, "export it for a batch of one"),
    "layout": (mean_classifier(shape=("n", 1, 8, 8)), {"input": INPUT | {"layout": "NHWC"}}, "say layout: NCHW"),
    "colour": (mean_classifier(), {"input": INPUT | {"colour": "rgb"}}, "say colour: grey"),
    "size": (mean_classifier(), {"input": INPUT | {"width": 16, "height": 4}}, "say width: 8, height: 8"),
    "bytes": (mean_classifier(), {"input": INPUT | {"dtype": "uint8"}}, "say dtype: float32"),
    "name": (mean_classifier(), {"input": INPUT | {"name": "x"}}, "say name: image"),
    "no output": (mean_classifier(), {"outputs": outputs("sigmoid", scores="x")}, "it has 'logit': name that of the"),
    "labels": (mean_classifier(), TWO | {"good_label": None}, "one score is for one label, or for two with good_label"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "changes", "cure"), CURES.values(), ids=CURES.keys())
def test_each_refusal_says_what_to_do(
    make_package: MakePackage, data: bytes, changes: dict[str, Any], cure: str
) -> None:
    assert cure in refused(make_package(data, **changes))


@pytest.mark.parametrize("op", ["RandomNormalLike", "RandomUniformLike", "Bernoulli"])
def test_a_graph_that_draws_random_numbers_is_refused(make_package: MakePackage, op: str) -> None:
    """The same frame would get another decision in a replay."""
    nodes = [*LOGITS, node(op, ["logits"], ["noise"]), node("Add", ["logits", "noise"], ["p"])]
    folder = make_package(scores(nodes, 2), outputs=outputs("softmax"), **TWO)
    assert f"draws random numbers ({op})" in refused(folder)
    assert "`overrule: [random]`" in refused(folder)
