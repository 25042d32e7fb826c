"""Models whose outputs do not depend on the picture do not load: each part would get the same verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models import ModelPackageError, load_model
from models.package_report import check_package
from tests.support.agreement import TWO
from tests.support.linear_models import Values, linear_model
from tests.support.packages import MakePackage

SAID = "yaml:5: file: the outputs are the same for all made-up pictures"
SCORES = {"outputs": {"names": {"scores": "p"}, "activation": "none"}, **TWO}
MAPPED = {"outputs": {"names": {"scores": "p", "map": "m"}, "activation": "none"}, **TWO}
EMBEDDED = {"outputs": {"names": {"scores": "p", "embedding": "e"}, "activation": "none"}, **TWO}
ANOMALY = {"task": "anomaly_map", "anomaly": {"low": 0.0, "high": 1.0}, "labels": ["anomaly"]}
SCORE = {"outputs": {"names": {"score": "p"}}, **ANOMALY}
SCORE_AND_MAP = {"outputs": {"names": {"score": "p", "map": "m"}}, **ANOMALY}
BOXES = {
    "task": "detection", "labels": ["a"], "outputs": {"names": {"boxes": "b", "scores": "p"}, "activation": "none"},
    "detection": {"score_threshold": 0.25},
}  # fmt: skip
FINISHED = {
    "task": "detection", "labels": ["a"], "outputs": {"names": {"detections": "d"}, "activation": "none"},
    "detection": {"score_threshold": 0.25},
}  # fmt: skip


def fixed(*values: Any) -> tuple[Values, Values]:
    """Return an output that is the same for each picture."""
    first = np.float32(values)
    return first, np.zeros_like(first)


def changing(*shape: int) -> tuple[Values, Values]:
    """Return an output that is the mean pixel, as 0 to 1."""
    return np.zeros(shape, np.float32), np.ones(shape, np.float32)


#: Outputs of a network, and its manifest.
REFUSED: dict[str, tuple[dict[str, tuple[Values, Values]], dict[str, Any]]] = {
    "all good": ({"p": fixed([0.999, 0.001])}, SCORES),
    "undecided": ({"p": fixed([0.5, 0.5])}, SCORES),
    "bad, but not near 1": ({"p": fixed([0.05, 0.95])}, SCORES),
    "a map that is only shown": ({"p": fixed([0.9, 0.1]), "m": changing(1, 1, 8, 8)}, MAPPED),
    "an embedding": ({"p": fixed([0.9, 0.1]), "e": changing(1, 4)}, EMBEDDED),
    "anomaly score": ({"p": fixed([0.3])}, SCORE),
    "anomaly score beside its map": ({"p": fixed([0.3]), "m": changing(1, 1, 8, 8)}, SCORE_AND_MAP),
    "boxes": ({"b": fixed([[1, 1, 5, 5]]), "p": fixed([[0.1]])}, BOXES),
}


@pytest.mark.parametrize(("network", "manifest"), REFUSED.values(), ids=REFUSED.keys())
def test_a_model_that_ignores_the_picture_is_refused(
    make_package: MakePackage, network: dict[str, tuple[Values, Values]], manifest: dict[str, Any]
) -> None:
    data = linear_model(network)
    with pytest.raises(ModelPackageError, match=SAID) as caught:
        load_model(make_package(data, **manifest))
    assert "what the export left of the input" in str(caught.value)
    assert "`overrule: [constant]`" in str(caught.value)
    assert load_model(make_package(data, **manifest, overrule=["constant"]))
    report = check_package(make_package(data, **manifest))
    assert [check.name for check in report.checks if check.outcome == "error"] == ["loading"]
    assert check_package(make_package(data, **manifest, overrule=["constant"])).is_ok


#: The same for networks that may give the same numbers for each made-up picture.
LOADED: dict[str, tuple[dict[str, tuple[Values, Values]], dict[str, Any]]] = {
    "rejects all, at the end of the range": ({"p": fixed([0.0, 1.0])}, SCORES),
    "in steps of 1/256": ({"p": fixed([0.0, 255 / 256])}, SCORES),
    "anomaly score that ends at 1": ({"p": fixed([1.0])}, SCORE),
    "no finished box": ({"d": fixed([[0, 0, 0, 0, 0, 0]])}, FINISHED),
    "no box, at other places": ({"b": changing(1, 1, 4), "p": fixed([[0.0]])}, BOXES),
}


@pytest.mark.parametrize(("network", "manifest"), LOADED.values(), ids=LOADED.keys())
def test_saturated_and_sparse_outputs_load(
    make_package: MakePackage, network: dict[str, tuple[Values, Values]], manifest: dict[str, Any]
) -> None:
    package = make_package(linear_model(network), **manifest)
    assert load_model(package)
    assert check_package(package).is_ok
