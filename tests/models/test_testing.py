"""The kit for models finds each broken rule, and passes every package that ships and every task."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from onnx import helper

from models import testing
from models.inspect_images import inspect_image
from models.inspection import Inspection
from models.reference import Reference
from models.testing import check_model
from schemas.records import Defect, Verdict
from tests.support.packages import MakePackage, encoded, graph_bytes

BLACK, WHITE = (encoded(np.full((8, 8), level, np.uint8)) for level in (0, 255))
EMBEDDED = {"outputs": {"names": {"scores": "logit", "embedding": "mean"}, "activation": "sigmoid"}}
TRAINING = {"provenance": "a test", "licence": "Apache-2.0", "data": "none", "split": "none"}


def constant(value: float) -> bytes:
    """Return a model whose logit is the same for each picture."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "value"], ["logit"]),
    ]
    constants = {"zero": np.float32([0]), "value": np.float32([value])}
    return graph_bytes(nodes, {"logit": ("n", 1)}, constants=constants)


def dark_fails() -> bytes:
    """Return a model whose logit is the logarithm of the mean: minus infinity for a black picture."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Log", ["mean"], ["logit"]),
    ]
    return graph_bytes(nodes, {"logit": ("n", 1)})


def bright_fails() -> bytes:
    """Return a model that divides by the distance from white."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "white"], ["distance"]),
        helper.make_node("Div", ["mean", "distance"], ["logit"]),
    ]
    return graph_bytes(nodes, {"logit": ("n", 1)}, constants={"white": np.float32([255])})


def noisy(kind: str) -> bytes:
    """Return a model in training mode: it adds random numbers, or drops some of its input."""
    nodes = [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0)]
    constants = {}
    if kind == "random":
        nodes += [
            helper.make_node("RandomNormalLike", ["mean"], ["noise"]),
            helper.make_node("Add", ["mean", "noise"], ["logit"]),
        ]
    else:
        constants = {"ratio": np.array(0.5, np.float32), "training": np.array(True)}
        nodes = [
            helper.make_node("Dropout", ["image", "ratio", "training"], ["dropped"]),
            helper.make_node("ReduceMean", ["dropped"], ["logit"], axes=[2, 3], keepdims=0),
        ]
    return graph_bytes(nodes, {"logit": ("n", 1)}, constants=constants)


def embedded() -> bytes:
    """Return `mean_classifier` with the mean as an embedding of one number."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "centre"], ["logit"]),
    ]
    outputs = {"logit": ("n", 1), "mean": ("n", 1)}
    return graph_bytes(nodes, outputs, constants={"centre": np.float32([100])})


def with_reference(folder: Path, size: int) -> Path:
    """Add a training reference with an embedding to a package."""
    ones = np.ones(size, np.float32)
    data = Reference({}, {}, ones, ones).dumps().encode()
    (folder / "reference.json").write_bytes(data)
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text(encoding="utf-8"))
    manifest["reference"] = {"file": "reference.json", "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return folder


def without_model(folder: Path) -> Path:
    (folder / "model.onnx").unlink()
    return folder


BROKEN: dict[str, tuple[Callable[[MakePackage], Path], str]] = {
    "1 no model": (lambda make: without_model(make()), r"package\d: it does not load: .*yaml:5: file: model\.onnx"),
    "1 other labels": (lambda make: make(labels=["a", "b", "c"]), "it does not load: .*the output has shape"),
    "2 dark": (lambda make: make(dark_fails()), "a black picture has no verdict: the model's output is not a number"),
    "2 bright": (lambda make: make(bright_fails()), "a white picture has no verdict: .*; expected a score from 0 to 1"),
    "4 random": (
        lambda make: make(noisy("random"), overrule=["random"]),
        "picture has other outputs.*; expected the same; .*dropout",
    ),
    "4 dropout": (
        lambda make: make(noisy("dropout"), overrule=["random"]),
        "picture has other outputs.*; expected the same; .*dropout",
    ),
    "1 constant": (lambda make: make(constant(3.0)), "it does not load: .*the outputs are the same for all"),
    "6 no embedding": (lambda make: with_reference(make(), 4), "the network has no embedding, the reference one of 4"),
    "6 other size": (
        lambda make: with_reference(make(embedded(), **EMBEDDED), 4),
        "the network has an embedding of 1 numbers, the reference one of 4; expected the same; make the reference",
    ),
    "7 provenance": (lambda make: make(training=TRAINING | {"provenance": ""}), "provenance of training is empty"),
    "7 split": (lambda make: make(training=TRAINING | {"split": " \n"}), "split of training is empty; expected a text"),
    "7 accepts": (
        lambda make: make(
            decision={"recipe_id": "t", "revision": 1, "threshold": 0.5, "actions": {"NOT_OK": "ACCEPT"}}
        ),
        "its action for NOT_OK is ACCEPT; expected REJECT or REVIEW",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_packages_fail(name: str, make_package: MakePackage) -> None:
    make, message = BROKEN[name]
    folder = make(make_package)
    with pytest.raises(AssertionError, match=message) as caught:
        check_model(folder)
    assert "\n" not in str(caught.value)


EXAMPLES: dict[str, tuple[tuple[bytes, Verdict], str]] = {
    "8 escape": ((BLACK, Verdict.NOT_OK), r"example 2 is OK, because score 0\.00 < 0\.50; expected NOT_OK"),
    "8 overkill": ((WHITE, Verdict.OK), r"example 2 is NOT_OK, because score 1\.00 >= 0\.50; expected OK"),
    "8 scrap": ((b"scrap", Verdict.OK), "example 2: .*; expected a readable image"),
}


@pytest.mark.parametrize(("example", "message"), EXAMPLES.values(), ids=EXAMPLES.keys())
def test_wrong_examples_fail(make_package: MakePackage, example: tuple[bytes, Verdict], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_model(make_package(), examples=[(BLACK, Verdict.OK), example])


BOX = Defect(label="defect", score=0.9, box_xywh=(1.0, 1.0, 2.0, 2.0))
#: Rule 3 is about tasks: a change of each result -> message.
RESULTS: dict[str, tuple[dict[str, Any], str]] = {
    "3 no labels": (
        {"labels": {}},
        r"has the labels \[\]; expected those of the manifest, \['defect'\]",
    ),
    "3 other labels": ({"labels": {"scratch": 0.5}}, r"a black picture has the labels \['scratch'\]"),
    "3 label of a defect": ({"defects": (dataclasses.replace(BOX, label="x"),)}, "has a defect 'x'; expected one of"),
    "3 box outside": (
        {"defects": (dataclasses.replace(BOX, box_xywh=(7.0, 0.0, 2.0, 1.0)),)},
        r"has a defect at \(7\.0, 0\.0, 2\.0, 1\.0\); expected one within 8x8 pixels",
    ),
    "3 box before": ({"defects": (dataclasses.replace(BOX, box_xywh=(-1.0, 0.0, 2.0, 1.0)),)}, "has a defect at"),
    "3 NumPy": ({"labels": {"defect": np.float32(0.5)}}, "the number .*0.5.* of type float32; expected finite floats"),
    "3 infinite": ({"signals": {"brightness": float("inf")}}, "the number inf of type float"),
}


@pytest.mark.parametrize(("changes", "message"), RESULTS.values(), ids=RESULTS.keys())
def test_odd_results_fail(
    make_package: MakePackage, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    def odd(*arguments: Any) -> Inspection:
        return dataclasses.replace(inspect_image(*arguments), **changes)

    monkeypatch.setattr(testing, "inspect_image", odd)
    with pytest.raises(AssertionError, match=message):
        check_model(make_package())


def test_a_model_that_differs_after_a_load_fails(make_package: MakePackage, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [make_package(), make_package(constant(3.0), overrule=["constant"])]
    load, loads = testing.load_model, iter(folders)
    monkeypatch.setattr(testing, "load_model", lambda _: load(next(loads)))
    with pytest.raises(AssertionError, match="a black picture has other outputs after the package was loaded again"):
        check_model(make_package())


def test_frames_that_make_no_difference_fail(make_package: MakePackage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network tells pictures apart as it is loaded, but not as frames of the line reach it."""
    load, blind = testing.load_model, testing.load_model(make_package(constant(3.0), overrule=["constant"]))
    monkeypatch.setattr(testing, "load_model", lambda folder: dataclasses.replace(load(folder), session=blind.session))
    with pytest.raises(AssertionError, match=r"the same for all .*; expected outputs that depend on"):
        check_model(make_package())
    check_model(make_package(overrule=["constant"]))


def test_whole_packages_pass(make_package: MakePackage) -> None:
    check_model(make_package(), examples=[(BLACK, Verdict.OK), (WHITE, Verdict.NOT_OK)])
    check_model(str(make_package() / "manifest.yaml"))
    check_model(with_reference(make_package(embedded(), **EMBEDDED), 1))
