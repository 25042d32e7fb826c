"""Tiny models of each task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper

from tests.support.packages import graph_bytes, mean_classifier

ANOMALY = {"low": 0.0, "high": 255.0, "score_percentile": 100}
DETECTION = {"score_threshold": 0.3}


def scaled_map(scale: float = 1.0) -> bytes:
    """The map is the image itself."""
    nodes = [helper.make_node("Mul", ["image", "scale"], ["map"])]
    return graph_bytes(nodes, {"map": ("n", 1, 8, 8)}, constants={"scale": np.float32([scale])})


def one_box(scale: float = 1.0) -> bytes:
    """A box at 2,2..6,6 whose score is the mean pixel / 255."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["share"]),
        helper.make_node("Reshape", ["share", "shape"], ["scores"]),
        helper.make_node("Identity", ["box"], ["boxes"]),
    ]
    constants = {
        "scale": np.float32([scale / 255]),
        "shape": np.array([1, 1, 1], np.int64),
        "box": np.float32([[[2, 2, 6, 6]]]),
    }
    return graph_bytes(nodes, {"scores": (1, 1, 1), "boxes": (1, 1, 4)}, constants=constants)


def mask() -> bytes:
    """The score of the one label at each place is the pixel / 255."""
    nodes = [helper.make_node("Mul", ["image", "scale"], ["mask"])]
    return graph_bytes(nodes, {"mask": ("n", 1, 8, 8)}, constants={"scale": np.float32([1 / 255])})


#: Task -> model bytes, changes of the manifest. Each finds a white image defective and a black one good.
CASES: dict[str, tuple[Callable[[], bytes], dict[str, Any]]] = {
    "classification": (mean_classifier, {}),
    "anomaly_map": (
        scaled_map,
        {"task": "anomaly_map", "outputs": {"names": {"map": "map"}}, "anomaly": ANOMALY},
    ),
    "detection": (
        one_box,
        {
            "task": "detection",
            "outputs": {"names": {"boxes": "boxes", "scores": "scores"}},
            "detection": DETECTION,
        },
    ),
    "segmentation": (
        mask,
        {
            "task": "segmentation",
            "outputs": {"names": {"scores": "mask"}},
            "segmentation": {"min_area": 0, "score_threshold": 0.3},
        },
    ),
}
