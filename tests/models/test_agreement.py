"""A manifest that the ONNX file contradicts does not load, and the line says what to change, or how to overrule."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models import ModelPackageError, load_model
from models.graph_walk import ends_in
from models.onnx_graph import Graph, Node, OnnxModel, read_model

from .tiny import MakePackage, graph_bytes, mean_classifier

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
    """A classifier whose last node makes ``p``."""
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


#: The last nodes of a graph -> what it ends in.
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
    "by arithmetic": (  # 1 / (1 + exp(-z)): no operator says so, the numbers do
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
    """``p`` comes from a Sigmoid within a branch, or within a function, behind a node that passes it on."""
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
    "count": ({"nc": "3"}, "`nc` says 3 classes, the manifest has 2 labels"),
    "the same": ({"names": "{0: 'good', 1: 'bad'}", "nc": "2"}, None),
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


def rows(shape: tuple[int, ...]) -> bytes:
    nodes = [
        node("ReduceMean", ["image"], ["m"], axes=[1, 2, 3], keepdims=1), node("Squeeze", ["m", "axis"], ["m3"]),
        node("Mul", ["m3", "zeros"], ["p"]),
    ]  # fmt: skip
    constants = {"zeros": np.zeros(shape, np.float32), "axis": np.int64([1])}
    return graph_bytes(nodes, {"p": shape}, constants=constants, shape=(1, 1, 8, 8))


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
    "half precision": (half(mean_classifier()), {}, "keep_io_types=True"),
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


def mapped(factor: float) -> bytes:
    """Make a model whose anomaly map is the pixels times a factor."""
    return graph_bytes(
        [node("Mul", ["image", "factor"], ["p"])],
        {"p": ("n", 1, 8, 8)},
        constants={"factor": np.float32([factor])},
    )


#: Factor of the map, the manifest's low and high, and what the refusal says; None where the package loads.
MAPS = {
    "normalised, high of distances": (1 / 255, 0.0, 40.0, "takes `low: 0` and `high: 1`"),
    "normalised, both of distances": (1 / 255, 11.8, 14.0, "takes `low: 0` and `high: 1`"),
    "another unit": (0.1, 0.0, 4000.0, "every score is near 0"),
    "below low": (0.1, 100.0, 200.0, "every score is near 0"),
    "normalised": (1 / 255, 0.0, 1.0, None),
    "distances": (0.1, 10.0, 40.0, None),
}


@pytest.mark.parametrize(("factor", "low", "high", "said"), MAPS.values(), ids=MAPS.keys())
def test_an_anomaly_map_is_on_the_scale_of_the_manifest(
    make_package: MakePackage, factor: float, low: float, high: float, said: str | None
) -> None:
    changes: dict[str, Any] = {
        "task": "anomaly_map", "outputs": outputs("none", map="p"), "anomaly": {"low": low, "high": high},
    }  # fmt: skip
    if said is not None:
        line = refused(make_package(mapped(factor), **changes))
        assert "anomaly.high: the maps of made-up pictures are from 0 to" in line
        assert said in line
        assert "`overrule: [threshold]`" in line
        changes["overrule"] = ["threshold"]
    assert load_model(make_package(mapped(factor), **changes))


def test_raw_numbers_in_0_to_1_may_be_raw(make_package: MakePackage) -> None:
    small = [
        node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0), node("Div", ["mean", "far"], ["a"]),
        node("Mul", ["a", "a"], ["b"]), node("Concat", ["a", "b"], ["p"], axis=1),
    ]  # fmt: skip
    data = scores(small, 2, far=np.float32([1000]))
    assert load_model(make_package(data, outputs=outputs("softmax"), **TWO))
    line = refused(make_package(data, outputs=outputs("sigmoid"), **TWO))
    assert line.index("`overrule: [activation]`") < line.index("`activation: none`")


def test_a_number_in_place_of_a_float_is_no_traceback(make_package: MakePackage) -> None:
    huge = b"\x10" + b"\x80" * 5 + b"\x01"  # field 2 as a variable-length integer, 2**35
    model = onnx.load_model_from_string(mean_classifier())
    axes = bytes(model.graph.node[0].attribute[0].SerializeToString())
    data = model.SerializeToString()
    body = bytes(model.graph.node[0].SerializeToString())

    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    del graph.node[0]
    first = body.replace(field(5, axes), field(5, axes + huge))
    assert first != body
    length = len(field(1, first) + graph.SerializeToString())
    model.ClearField("graph")
    packed = bytes([7 << 3 | 2, length & 0x7F | 0x80, length >> 7]) + field(1, first) + graph.SerializeToString()
    assert len(model.SerializeToString() + packed) > len(data)
    assert "a float that is written as a larger number" in refused(make_package(model.SerializeToString() + packed))


def test_many_calls_of_a_long_function_share_what_is_known_of_it() -> None:
    body = Graph(tuple(Node("Identity", (f"v{n}",), (f"v{n + 1}",)) for n in range(2000)), ("v0",), ("v1",))
    calls = tuple(Node("f", (f"x{n}",), (f"x{n + 1}",)) for n in range(1000))
    tracemalloc.start()
    try:
        assert ends_in(OnnxModel(Graph((Node("Softmax", ("l",), ("x0",)), *calls)), {"f": body}, {}), "x1000")
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


YOLO = {"score_threshold": 0.25, "box": "cxcywh"}
#: The block of the manifest, and what the refusal says.
BOXES = {
    "default": (
        {"score_threshold": 0.25},
        "detection: an output in the role predictions has the centre",
        "box: cxcywh",
    ),
    "corner": (YOLO | {"box": "xywh"}, "detection.box: ", "the manifest says xywh: say `box: cxcywh`"),
    "shares": (YOLO | {"coordinates": "normalised"}, "detection.coordinates: ", "say `coordinates: pixels`"),
}


@pytest.mark.parametrize(("block", "at", "cure"), BOXES.values(), ids=BOXES.keys())
def test_boxes_of_predictions_are_centre_and_size(
    make_package: MakePackage, block: dict[str, Any], at: str, cure: str
) -> None:
    changes: dict[str, Any] = {"task": "detection", "labels": ["a"], "outputs": outputs("none", predictions="p")}
    data = rows((1, 5, 300))
    line = refused(make_package(data, detection=block, **changes))
    assert at in line
    assert cure in line
    assert "`overrule: [box]`" in line
    line = refused(make_package(described(data, author="Ultralytics"), detection=block, **changes))
    assert "models of Ultralytics give" in line
    assert load_model(make_package(data, detection=block, overrule=["box"], **changes))
    assert load_model(make_package(data, detection=YOLO, **changes))


def test_one_normalisation_turned_into_another_is_no_mean(make_package: MakePackage) -> None:
    """Picks each channel, and scales it, as Inception does with transform_input."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def turned(shifts: tuple[float, ...]) -> bytes:
        constants: dict[str, np.ndarray] = {"axes": np.int64([1]), "far": np.float32([0.1])}
        nodes = []
        for n in range(3):
            constants |= {f"at{n}": np.int64(n), f"by{n}": np.float32(std[n] / 0.5), f"add{n}": np.float32(shifts[n])}
            nodes += [
                node("Gather", ["image", f"at{n}"], [f"c{n}"], axis=1), node("Unsqueeze", [f"c{n}", "axes"], [f"u{n}"]),
                node("Mul", [f"u{n}", f"by{n}"], [f"m{n}"]), node("Add", [f"m{n}", f"add{n}"], [f"a{n}"]),
            ]  # fmt: skip
        nodes += [
            node("Concat", ["a0", "a1", "a2"], ["x"], axis=1), node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3]),
            node("Flatten", ["m"], ["f"]), node("Div", ["f", "far"], ["p"]),
        ]  # fmt: skip
        return graph_bytes(nodes, {"p": ("n", 1)}, constants=constants, shape=("n", 3, 8, 8))

    changes: dict[str, Any] = {
        "outputs": outputs("sigmoid"),
        "input": INPUT | {"colour": "rgb", "scale": 1 / 255, "mean": list(mean), "std": list(std)},
    }
    assert load_model(make_package(turned(tuple((each - 0.5) / 0.5 for each in mean)), **changes))
    line = refused(make_package(turned(tuple(-each for each in mean)), **changes))
    assert "input.mean: the graph subtracts a mean" in line
