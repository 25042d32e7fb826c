"""Scales of maps, order of boxes, raw scores and normalisation: what the numbers and the graph say of a manifest."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import onnx
import pytest

from models import load_model
from models.graph_walk import ends_in
from models.onnx_graph import Graph, Node, OnnxModel
from tests.support.agreement import INPUT, LOGITS, TWO, Z, described, node, outputs, refused, rows, scores
from tests.support.packages import MakePackage, graph_bytes, mean_classifier


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
    assert "softmax over one score gives 1" in refused(make_package(outputs=outputs("softmax", scores="logit")))


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


SOFTMAX = [*LOGITS, node("Softmax", ["logits"], ["a"], axis=1)]
SIGMOID = [*Z, node("Sigmoid", ["z"], ["a"])]
#: Last nodes of a graph, number of scores, activation of the manifest, and what the refusal says.
ENDS: dict[str, tuple[list[onnx.NodeProto], int, str, str]] = {
    "percent of a softmax": ([*SOFTMAX, node("Mul", ["a", "h"], ["p"])], 2, "softmax", "with a factor or an offset"),
    "percent of a sigmoid": ([*SIGMOID, node("Mul", ["a", "h"], ["p"])], 1, "sigmoid", "with a factor or an offset"),
    "percent, finished": ([*SOFTMAX, node("Mul", ["a", "h"], ["p"])], 2, "none", "If they are percent"),
    "softmax twice": ([*SOFTMAX, node("Softmax", ["a"], ["p"])], 2, "none", "applies softmax to finished scores"),
    "sigmoid of softmax": ([*SOFTMAX, node("Sigmoid", ["a"], ["p"])], 2, "none", "applies sigmoid to finished scores"),
    "another axis": ([*LOGITS, node("Softmax", ["logits"], ["p"], axis=0)], 2, "none", "export it with dim=-1"),
    "tanh": ([*Z, node("Tanh", ["z"], ["p"])], 1, "sigmoid", "ends in tanh before output 'p', from -1 to 1"),
    "softsign": ([*Z, node("Softsign", ["z"], ["p"])], 1, "sigmoid", "ends in softsign"),
    "normalised": ([*LOGITS, node("LpNormalization", ["logits"], ["p"])], 2, "softmax", "ends in a normalisation"),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "count", "activation", "said"), ENDS.values(), ids=ENDS.keys())
def test_no_activation_follows_finished_or_bounded_numbers(
    make_package: MakePackage, nodes: list[onnx.NodeProto], count: int, activation: str, said: str
) -> None:
    data, labels = scores(nodes, count, h=np.float32([100])), TWO if count == 2 else {}
    assert said in refused(make_package(data, outputs=outputs(activation), **labels))
    # Over another axis, both labels have 1 for each picture.
    overrule = ["activation", "constant"]
    assert load_model(make_package(data, outputs=outputs(activation), overrule=overrule, **labels))


def test_scaled_cosines_and_gates_are_raw_numbers(make_package: MakePackage) -> None:
    cosines = [*LOGITS, node("LpNormalization", ["logits"], ["a"]), node("Mul", ["a", "h"], ["p"])]
    data = scores(cosines, 2, h=np.float32([30]))
    assert load_model(make_package(data, outputs=outputs("softmax"), **TWO))
    gated = [*SIGMOID, node("Mul", ["z", "a"], ["p"])]
    assert load_model(make_package(scores(gated, 1), outputs=outputs("sigmoid")))


def test_a_finished_map_gets_no_sigmoid(make_package: MakePackage) -> None:
    changes: dict[str, Any] = {"task": "anomaly_map", "anomaly": {"low": 0.0, "high": 1.0}}
    line = refused(make_package(mapped(1 / 255), outputs=outputs("sigmoid", map="p"), **changes))
    assert "finished before the manifest applies sigmoid: say `activation: none`" in line


def test_a_column_of_class_numbers_is_no_score(make_package: MakePackage) -> None:
    """Finished rows, turned: boxes, best score, and the place of the best score as the class."""
    nodes = [
        node("Reshape", ["image", "shape"], ["r"]), node("TopK", ["r", "k"], ["best", "places"], axis=2),
        node("Cast", ["places"], ["class"], to=onnx.TensorProto.FLOAT),
        node("Sigmoid", ["best"], ["score"]), node("Concat", [*["best"] * 4, "score", "class"], ["p"], axis=1),
    ]  # fmt: skip
    constants = {"shape": np.int64([1, 1, 64]), "k": np.int64([20])}
    data = graph_bytes(nodes, {"p": (1, 6, 20)}, constants=constants, shape=(1, 1, 8, 8))
    changes: dict[str, Any] = {
        "task": "detection", "labels": ["a", "b"], "outputs": outputs("none", predictions="p"), "detection": YOLO,
    }  # fmt: skip
    assert "is the number of a class (TopK)" in refused(make_package(data, **changes))


def test_boxes_of_tensorflow_in_another_order_are_refused(make_package: MakePackage) -> None:
    names = {"boxes": "detection_boxes", "scores": "detection_scores", "classes": "detection_classes"}
    changes: dict[str, Any] = {"task": "detection", "labels": ["a"], "outputs": outputs("none", **names)}
    line = refused(make_package(mean_classifier(), detection={"score_threshold": 0.25}, **changes))
    assert "have ymin, xmin, ymax, xmax as shares of the input: say `box: yxyx`, `coordinates: normalised`" in line
