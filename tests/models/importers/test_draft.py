"""Draft of a manifest: what the file states is taken, and all the rest is asked for in one line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.errors import ImportRefused
from models.importers.converter import ModelFacts
from models.importers.draft import draft_manifest, inversion
from models.importers.options import ImportOptions
from models.manifest import Manifest
from models.onnx_graph import Graph, Node, OnnxModel

FACTS = ModelFacts("image", "float32", (None, 64, 48, 3), {"p": (1, 2)}, {"framework": "1.0"})
SOFTMAX = OnnxModel(Graph((Node("Softmax", ("x",), ("p",)),)), {}, {})
BARE = OnnxModel(Graph((Node("Gemm", ("x",), ("p",)),)), {}, {})
STATED = ImportOptions(labels=("good", "bad"), threshold=0.5, colour="rgb", scale=1 / 255)


def draft(facts: ModelFacts = FACTS, graph: OnnxModel = SOFTMAX, options: ImportOptions = STATED) -> dict[str, Any]:
    made = draft_manifest(facts, graph, options, name="my model", sha256="0" * 64, provenance="a test")
    Manifest.model_validate(made, strict=False)
    return made


def test_shapes_and_names_come_from_the_file() -> None:
    made = draft()
    assert made["input"] == {
        "name": "image", "width": 48, "height": 64, "colour": "rgb", "layout": "NHWC", "dtype": "float32",
        "resize": "stretch", "scale": 1 / 255, "mean": [], "std": [],
    }  # fmt: skip
    assert made["outputs"] == {"names": {"scores": "p"}, "activation": "none"}
    assert (made["name"], made["good_label"]) == ("my-model", "good")


def test_all_that_is_missing_is_asked_for_in_one_line() -> None:
    with pytest.raises(ImportRefused) as caught:
        draft(graph=BARE, options=ImportOptions())
    line = str(caught.value)
    assert "\n" not in line
    for option in ("--colour", "--scale", "--activation", "--labels", "--threshold"):
        assert option in line


def test_labels_come_from_the_metadata_of_the_file() -> None:
    graph = OnnxModel(SOFTMAX.graph, {}, {"names": "{0: 'good', 1: 'bad'}"})
    assert draft(graph=graph, options=replace(STATED, labels=()))["labels"] == ["good", "bad"]


def test_a_graph_that_scales_its_pixels_is_not_scaled_again() -> None:
    nodes = (Node("Mul", ("image", "c"), ("x",)), *SOFTMAX.graph.nodes)
    graph = OnnxModel(Graph(nodes, constants={"c": (1 / 255,)}), {}, {})
    assert "scale" not in draft(graph=graph, options=replace(STATED, scale=None))["input"]


def test_bytes_need_no_scale() -> None:
    facts = replace(FACTS, input_dtype="uint8")
    assert "scale" not in draft(facts, options=replace(STATED, scale=None))["input"]
    with pytest.raises(ImportRefused, match="its graph scales them itself"):
        draft(facts)


def test_a_map_asks_for_its_range() -> None:
    facts = replace(FACTS, outputs={"map": (1, 1, 14, 14)})
    with pytest.raises(ImportRefused, match="--anomaly-range LOW,HIGH"):
        draft(facts)
    made = draft(facts, options=replace(STATED, labels=(), anomaly_range=(0.0, 40.0)))
    assert (made["task"], made["anomaly"], made["labels"]) == ("anomaly_map", {"low": 0.0, "high": 40.0}, ["anomaly"])


def test_columns_of_boxes() -> None:
    facts = replace(FACTS, outputs={"out": (1, 6, 8400)})
    with pytest.raises(ImportRefused, match="--task and --output ROLE=NAME"):
        draft(facts)
    options = replace(STATED, task="detection", activation="none", labels=("scratch", "dent"), good_label="")
    made = draft(facts, options=options)
    assert made["outputs"]["names"] == {"predictions": "out"}
    assert made["detection"] == {"score_threshold": 0.25, "box": "cxcywh"}


@pytest.mark.parametrize(
    ("facts", "options", "line"),
    [
        (replace(FACTS, input_shape=(2, 3, 8, 8)), STATED, "takes batches of 2, and the line inspects one image"),
        (replace(FACTS, input_shape=(None, 10)), STATED, "takes shape [None, 10]"),
        (replace(FACTS, input_dtype="float16"), STATED, "takes float16"),
        (replace(FACTS, input_shape=(1, 4, 8, 8)), STATED, "takes 8 channels"),
        (replace(FACTS, input_shape=(None, None, None, 3)), STATED, "--size WIDTHxHEIGHT"),
        (FACTS, replace(STATED, size_wh=(32, 64)), "--size states the width 32, and the model takes 48"),
        (FACTS, replace(STATED, colour="grey"), "--colour grey: the model takes 3 channels"),
        (FACTS, replace(STATED, labels=("a", "b", "c")), "3 names, and the model has 2 scores"),
        (FACTS, replace(STATED, labels=("a", "b")), "--good-label NAME"),
        (FACTS, replace(STATED, good_label="fine"), "the labels are good, bad"),
        (FACTS, replace(STATED, outputs={"scores": "q"}), "--output scores=q: the model has p [1, 2]"),
        (FACTS, replace(STATED, scale=None, mean=(0.5,)), "--scale (1 or 1/255, with --mean and --std)"),
    ],
)
def test_facts_that_do_not_fit(facts: ModelFacts, options: ImportOptions, line: str) -> None:
    with pytest.raises(ImportRefused) as caught:
        draft(facts, options=options)
    assert line in str(caught.value)


def test_one_score_is_that_of_the_second_label() -> None:
    assert inversion(ImportOptions(labels=("good", "bad"))) is None
    assert inversion(ImportOptions(labels=("bad", "good"))) == "none"
    assert inversion(ImportOptions(labels=("a", "b"), good_label="b", activation="sigmoid")) == "sigmoid"
    assert inversion(ImportOptions(labels=("a", "b"))) is None
