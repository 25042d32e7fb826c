"""Drafts of manifests: facts from real ONNX files, questions for the rest, and refusals that name the remedy."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models import default_model_path, load_model
from models.draft import draft_manifest
from models.draft_answers import DraftAnswers
from models.errors import ModelPackageError
from models.onnx_values import OnnxValue, read_signature
from models.protobuf import Malformed
from schemas.errors import SettingsError
from tests.support.packages import mean_classifier
from tests.support.task_models import one_box, scaled_map

#: Metadata as Ultralytics 8.4 writes it.
ULTRALYTICS = {
    "description": "Ultralytics YOLO11n model trained on parts.yaml", "author": "Ultralytics", "version": "8.4.190",
    "license": "AGPL-3.0 License (https://ultralytics.com/license)", "docs": "https://docs.ultralytics.com",
    "stride": "32", "batch": "1", "channels": "3", "end2end": "False",
    "args": "{'batch': 1, 'half': False, 'dynamic': False, 'simplify': True, 'opset': None, 'nms': False}",
}  # fmt: skip


def network(
    outputs: dict[str, tuple[int, ...]],
    *,
    shape: tuple[int | str, ...] = (1, 3, 64, 64),
    end: str = "",
    dtype: int = TensorProto.FLOAT,
    metadata: dict[str, str] | None = None,
    scaled: bool = False,
) -> bytes:
    """A network whose outputs are the mean pixel times small weights, with the given shapes."""
    nodes, constants = [], {}
    source = "image"
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT))
        source = "cast"
    if scaled:
        nodes.append(helper.make_node("Div", [source, "by"], ["scaled"]))
        constants["by"] = np.float32([255.0])
        source = "scaled"
    nodes.append(helper.make_node("ReduceMean", [source], ["mean"], axes=[1, 2, 3], keepdims=0))
    nodes.append(helper.make_node("Reshape", ["mean", "one"], ["scalar"]))
    constants["one"] = np.array([1], np.int64)
    for name, dims in outputs.items():
        constants[f"w_{name}"] = np.linspace(0.1, 0.9, int(np.prod(dims)), dtype=np.float32).reshape(dims)
        nodes.append(helper.make_node("Mul", ["scalar", f"w_{name}"], [f"raw_{name}"]))
        nodes.append(helper.make_node(end or "Identity", [f"raw_{name}"], [name]))
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("image", dtype, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(
        graph, opset_imports=opset, ir_version=9, producer_name="pytorch", producer_version="2.15"
    )
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def loaded(data: bytes, manifest: Any, folder: Path) -> Any:
    """Write a package of a draft, and load it."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(data)
    (folder / "manifest.yaml").write_text(yaml.safe_dump(dict(manifest), sort_keys=False), encoding="utf-8")
    return load_model(folder)


def asked(data: bytes, **given: str) -> list[str]:
    return [question.option for question in draft_manifest(data, "m", given).open]


def test_a_detector_of_ultralytics_needs_a_threshold_only(tmp_path: Path) -> None:
    metadata = {**ULTRALYTICS, "task": "detect", "names": "{0: 'scratch', 1: 'dent'}", "imgsz": "[64, 64]"}
    data = network({"output0": (1, 6, 84)}, metadata=metadata, end="Sigmoid")
    assert asked(data) == ["threshold"]
    draft = draft_manifest(data, "best", {"threshold": "0.4"})
    model = loaded(data, draft.manifest, tmp_path / "package")
    manifest = model.manifest
    assert (manifest.task, manifest.labels, manifest.outputs.names) == (
        "detection", ("scratch", "dent"), {"predictions": "output0"},
    )  # fmt: skip
    spec = manifest.input
    assert (spec.colour, spec.scale, spec.resize, spec.pad, spec.width) == ("rgb", 1 / 255, "letterbox", 114, 64)
    assert manifest.detection is not None
    assert (manifest.detection.box, manifest.detection.score_threshold) == ("cxcywh", 0.25)
    assert manifest.training.licence.startswith("AGPL-3.0")
    assert manifest.training.provenance.startswith("Ultralytics YOLO11n")


def test_a_classifier_of_ultralytics_has_its_activation_inside(tmp_path: Path) -> None:
    metadata = {**ULTRALYTICS, "task": "classify", "names": "{0: 'good', 1: 'bad'}", "imgsz": "[64, 64]"}
    data = network({"output0": (1, 2)}, metadata=metadata, end="Softmax")
    draft = draft_manifest(data, "best", {"threshold": "0.5"})
    manifest = loaded(data, draft.manifest, tmp_path / "package").manifest
    assert (manifest.outputs.activation, manifest.good_label, manifest.labels) == ("none", "good", ("good", "bad"))


def test_a_plain_classifier_asks_for_what_no_file_states(tmp_path: Path) -> None:
    data = network({"logits": (1, 2)})
    assert asked(data) == ["colour", "scale", "threshold", "labels", "activation", "licence"]
    given = {
        "colour": "bgr", "scale": "imagenet", "threshold": "0.3", "labels": "defect, good", "activation": "softmax",
        "licence": "ours", "review_band": "0.2,0.4",
    }  # fmt: skip
    draft = draft_manifest(data, "my parts!", given)
    manifest = loaded(data, draft.manifest, tmp_path / "package").manifest
    assert (manifest.name, manifest.labels, manifest.good_label) == ("my-parts", ("defect", "good"), "good")
    assert (manifest.input.mean, manifest.input.scale) == ((0.485, 0.456, 0.406), 1 / 255)
    assert manifest.decision.review_band == (0.2, 0.4)
    assert manifest.training.provenance == "pytorch 2.15"
    assert any("training.data not stated" in note for note in draft.notes)
    assert any("resize stretch: assumed" in note for note in draft.notes)


@pytest.mark.parametrize(
    ("data", "given", "check"),
    [
        (network({"logits": (1, 2)}, scaled=True), {}, lambda m: m["input"]["scale"] == 1.0),
        (network({"p": (1, 2)}, end="Softmax"), {"scale": "1"}, lambda m: m["outputs"]["activation"] == "none"),
        (network({"logits": (1, 2)}, shape=(1, 64, 48, 3)), {"scale": "1"}, lambda m: m["input"]["layout"] == "NHWC"),
        (network({"logits": (1, 2)}, dtype=TensorProto.UINT8), {}, lambda m: m["input"]["dtype"] == "uint8"),
        (
            network({"logits": (1, 2)}, shape=(1, 3, "h", "w")), {"scale": "1", "size": "48X32"},
            lambda m: (m["input"]["width"], m["input"]["height"]) == (48, 32),
        ),
        (
            network({"logits": (1, 2)}, metadata={"classes": "crack;ok", "color_format": "BGR"}), {"scale": "1/255"},
            lambda m: (m["labels"], m["good_label"], m["input"]["colour"]) == (["crack", "ok"], "ok", "bgr"),
        ),
        (
            network({"logits": (1, 2), "embedding": (1, 8)}), {"scale": "1", "output": "scores=logits"},
            lambda m: m["outputs"]["names"] == {"scores": "logits"},
        ),
        (
            network({"logits": (1, 2), "embedding": (1, 8)}), {"scale": "1"},
            lambda m: m["outputs"]["names"] == {"scores": "logits"},
        ),
    ],
    ids=["scaled", "softmax", "NHWC", "uint8", "free size", "metadata", "named output", "likely output"],
)  # fmt: skip
def test_facts_of_the_file(data: bytes, given: dict[str, str], check: Any) -> None:
    answers = {"colour": "rgb", "labels": "good,bad", "activation": "softmax", "threshold": "0.5", "licence": "x"}
    if "classes" in str(data):
        answers = {name: text for name, text in answers.items() if name not in ("labels", "colour")}
    if "Softmax" in str(data):
        del answers["activation"]
    draft = draft_manifest(data, "m", answers | given)
    assert [question.line for question in draft.open] == []
    assert check(draft.manifest)


def test_an_anomaly_map(tmp_path: Path) -> None:
    data = scaled_map()
    assert asked(data) == ["threshold", "map_range", "provenance", "licence"]
    given = {
        "scale": "1", "threshold": "0.5", "map_range": "0,255", "provenance": "a test", "licence": "ours",
        "size": "8x8",
    }  # fmt: skip
    manifest = loaded(data, draft_manifest(data, "m", given).manifest, tmp_path / "package").manifest
    assert (manifest.labels, manifest.anomaly.low, manifest.anomaly.high) == (("anomaly",), 0.0, 255.0)


def test_a_map_of_anomalib_is_normalised() -> None:
    outputs = {"pred_score": (1,), "anomaly_map": (1, 1, 64, 64)}
    draft = draft_manifest(
        network(outputs), "m", {"threshold": "0.5", "colour": "rgb", "scale": "1/255", "licence": "x"}
    )
    assert draft.manifest["anomaly"] == {"low": 0.0, "high": 1.0}
    assert draft.manifest["outputs"]["names"] == {"score": "pred_score", "map": "anomaly_map"}


def test_boxes_and_scores_in_two_outputs(tmp_path: Path) -> None:
    data = one_box()
    given = {"scale": "1", "threshold": "0.5", "labels": "dent", "provenance": "x", "licence": "x", "size": "8x8"}
    assert asked(data, **given) == ["box", "coordinates"]
    draft = draft_manifest(data, "m", {**given, "box": "xyxy", "coordinates": "pixels"})
    assert loaded(data, draft.manifest, tmp_path / "package").manifest.outputs.names == {
        "boxes": "boxes", "scores": "scores",
    }  # fmt: skip


def test_the_shipped_model_is_drafted_as_it_ships(tmp_path: Path) -> None:
    data = (default_model_path() / "model.onnx").read_bytes()
    given = {
        "labels": "functional,defective", "activation": "sigmoid", "threshold": "0.5", "review_band": "0.4,0.6",
        "provenance": "x", "licence": "x",
    }  # fmt: skip
    model = loaded(data, draft_manifest(data, "elpv-cells", given).manifest, tmp_path / "package")
    assert model.recipe_revision == load_model(default_model_path()).recipe_revision


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an ONNX model"),
        (b"hello", "not an ONNX model"),
        (mean_classifier()[:100], "not an ONNX model"),
        (network({"logits": (1, 2)}, dtype=TensorProto.INT8), "int8: export it with a float32, float16 or uint8 input"),
        (network({"logits": (1, 2)}, shape=(1, 4, 64, 64)), "4 channels are not read"),
        (network({"logits": (1, 2)}, shape=(1, 3, 64, 20_000)), "20000 pixels wide and 64 high, of 8192 at most"),
        (network({"logits": (8, 2)}, shape=(8, 3, 64, 64)), "takes batches of 8, .*: export it with a free first axis"),
        (network({"logits": (1, 2)}, metadata={"task": "obb"}), "turned boxes are not read"),
        (network({"logits": (1, 2)}, metadata={"task": "segment"}), "masks of single objects are not read"),
        (
            network({"output0": (1, 300, 38)}, metadata={**ULTRALYTICS, "task": "detect", "end2end": "True"}),
            "its outputs are no rows of x1, y1, x2, y2, score, class",
        ),
    ],
)  # fmt: skip
def test_a_file_that_no_manifest_fits_is_refused(data: bytes, message: str) -> None:
    given = {"layout": "NCHW"}
    with pytest.raises(ModelPackageError, match=message):
        draft_manifest(data, "m", given)


def ending(kind: str) -> bytes:
    """Return a network whose scores are the maps of ZipMap, a sequence, or a tensor of a type without numbers."""
    model = onnx.load_model_from_string(network({"p": (1, 2)}))
    del model.graph.output[0]
    types = {
        "ZipMap": helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])),
        "SequenceConstruct": helper.make_tensor_type_proto(TensorProto.FLOAT, [1, 2]),
    }
    if kind in types:
        options = {"domain": "ai.onnx.ml", "classlabels_strings": ["good", "bad"]} if kind == "ZipMap" else {}
        model.graph.node.append(helper.make_node(kind, ["p"], ["o"], **options))
        model.graph.output.append(helper.make_value_info("o", helper.make_sequence_type_proto(types[kind])))
        # The number of the label that skl2onnx gives beside it.
        model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, [1]))
    else:
        model.graph.node.append(helper.make_node("Cast", ["p"], ["o"], to=getattr(TensorProto, kind)))
        model.graph.output.append(helper.make_tensor_value_info("o", getattr(TensorProto, kind), [1, 2]))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ZipMap", r"output 'o' has the maps of ZipMap, .*options=\{'zipmap': False\}"),
        ("SequenceConstruct", "output 'o' is no tensor, .*: export it as one tensor"),
        ("BOOL", "output 'o' has the type bool, .*: export it with a Cast to float32"),
        ("BFLOAT16", "output 'o' has the type bfloat16"),
        ("STRING", "output 'o' has the type string"),
    ],
)
def test_outputs_without_numbers_are_refused_before_any_question(kind: str, message: str) -> None:
    with pytest.raises(ModelPackageError, match=message):
        draft_manifest(ending(kind), "m", {})
    beside = onnx.load_model_from_string(ending(kind))
    beside.graph.output.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, 2]))
    data = bytes(beside.SerializeToString())
    assert "task" not in asked(data)
    with pytest.raises(ModelPackageError, match="output 'o' "):
        draft_manifest(data, "m", {"output": "scores=o"})


@pytest.mark.parametrize("given", [{"scale": "1/255"}, {"mean": "0.5"}, {"std": "0.5"}])
def test_a_scale_for_a_graph_that_takes_bytes_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ModelPackageError, match="the graph takes bytes and scales them itself; omit them"):
        draft_manifest(network({"logits": (1, 2)}, dtype=TensorProto.UINT8), "m", {"layout": "NCHW", **given})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threshold": "high"}, "--threshold 'high': a number"),
        ({"threshold": "2"}, "--threshold '2': a number from 0 to 1"),
        ({"threshold": "nan"}, "--threshold 'nan': a number"),
        ({"scale": "1/0"}, "--scale '1/0': a number"),
        ({"scale": "1", "mean": "1,2"}, "--mean '1,2': 3 numbers"),
        ({"size": "640"}, "--size '640': WIDTHxHEIGHT"),
        ({"size": "0x0"}, "--size '0x0': WIDTHxHEIGHT"),
        ({"size": "٣x٣"}, "WIDTHxHEIGHT"),
        ({"colour": "cmyk"}, "--colour 'cmyk': rgb or bgr"),
        ({"size": "000001" + "9" * 5000}, "WIDTHxHEIGHT"),
        ({"size": "9000x64"}, "with at most 8192 each"),
        ({"labels": "a,,b"}, "--labels 'a,,b': different names"),
        ({"labels": "a,a"}, "--labels 'a,a': different names"),
        ({"output": "logits"}, "--output 'logits': ROLE=NAME"),
        ({"activation": "relu"}, "--activation 'relu': softmax, sigmoid or none"),
        ({"resize": "crop"}, "--resize 'crop': stretch or letterbox"),
        ({"task": "segment"}, "--task 'segment'"),
        ({"licence": " "}, "--licence ' ': a text"),
        ({"map_range": "1", "task": "anomaly_map"}, "--map-range '1': 2 numbers"),
    ],
)
def test_an_answer_that_cannot_be_read_names_its_option(given: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        draft_manifest(network({"logits": (1, 2)}), "m", given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"review_band": "0.9,0.1"}, "review_band: the lower end comes first"),
        ({"good_label": "perfect"}, "good_label: 'perfect' is not one of the labels"),
        ({"output": "map=logits"}, "names of a classification model are"),
        ({"scale": "-1"}, "scale: Input should be greater than 0"),
    ],
)
def test_answers_that_contradict_each_other_are_refused(given: dict[str, str], message: str) -> None:
    whole = {
        "colour": "rgb", "scale": "1", "labels": "good,bad", "activation": "softmax", "threshold": "0.5",
        "licence": "x",
    }  # fmt: skip
    with pytest.raises(ModelPackageError, match=message):
        draft_manifest(network({"logits": (1, 2)}), "m", whole | given)


def test_the_colour_of_a_network_of_one_channel_is_grey() -> None:
    grey = network({"logits": (1, 2)}, shape=(1, 1, 64, 64))
    with pytest.raises(SettingsError, match="--colour 'rgb': grey"):
        draft_manifest(grey, "m", {"colour": "rgb"})


def test_the_signature_is_that_of_the_runtime() -> None:
    for package in ("elpv_cells", "elpv_good_only", "elpv_stacked"):
        folder = default_model_path().parent / package
        session = load_model(folder).session
        found = read_signature((folder / "model.onnx").read_bytes())
        for values, expected in ((found.inputs, session.get_inputs()), (found.outputs, session.get_outputs())):
            assert [value.name for value in values] == [each.name for each in expected]
            shapes = [tuple(size if isinstance(size, int) else None for size in each.shape) for each in expected]
            assert [value.shape for value in values] == shapes


def test_constants_among_the_inputs_are_left_out() -> None:
    weights = numpy_helper.from_array(np.ones(1, np.float32), "w")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("x", (1, -1)), ("w", (1,)))
    ]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])], "g", inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [weights],
    )  # fmt: skip
    found = read_signature(helper.make_model(graph).SerializeToString())
    assert found.inputs == (OnnxValue("x", "float32", (1, None)),)
    assert found.outputs == (OnnxValue("y", "float32", ()),)


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 3000), st.integers(0, 3000))
def test_damaged_files_are_refused(noise: bytes, begin: int, end: int) -> None:
    sound = mean_classifier()
    data = sound[: min(begin, end)] + noise + sound[max(begin, end) :]
    with contextlib.suppress(Malformed):
        read_signature(data)
    with contextlib.suppress(ModelPackageError):
        draft_manifest(data, "m", {"layout": "NCHW"})


def test_questions_are_asked_once() -> None:
    answers = DraftAnswers({})
    answers.ask("scale", "a")
    answers.ask("scale", "b")
    assert [question.line for question in answers.open] == ["--scale: a"]
    assert json.dumps([question.option for question in answers.open]) == '["scale"]'
