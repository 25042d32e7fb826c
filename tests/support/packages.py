"""Tiny real ONNX models and image files, made on the spot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from models.opencv import cv2

Nodes = Sequence[onnx.NodeProto]
MakePackage = Callable[..., Path]


def graph_bytes(
    nodes: Nodes,
    outputs: dict[str, Sequence[int | str | None]],
    *,
    constants: dict[str, np.ndarray] | None = None,
    shape: Sequence[int | str] = ("n", 1, 8, 8),
    dtype: int = TensorProto.FLOAT,
) -> bytes:
    """A model with one input ``image``."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", dtype, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def mean_classifier(**options: Any) -> bytes:
    """Logit = (mean pixel - 100) / 10: bright images are defective."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "centre"], ["above"]),
        helper.make_node("Div", ["above", "width"], ["logit"]),
    ]
    constants = {"centre": np.float32(100.0).reshape(1), "width": np.float32(10.0).reshape(1)}
    return graph_bytes(nodes, {"logit": ("n", 1)}, constants=constants, **options)


def manifest_of(model: bytes, **changes: Any) -> dict[str, Any]:
    """A manifest for `mean_classifier`; changes replace whole blocks, None removes one."""
    manifest = {
        "manifest_version": 1,
        "name": "tiny",
        "version": "1.0.0",
        "task": "classification",
        "file": "model.onnx",
        "sha256": hashlib.sha256(model).hexdigest(),
        "input": {"name": "image", "width": 8, "height": 8, "colour": "grey", "dtype": "float32"},
        "outputs": {"names": {"scores": "logit"}, "activation": "sigmoid"},
        "labels": ["defect"],
        "decision": {"recipe_id": "tiny", "revision": 1, "threshold": 0.5},
        "training": {"provenance": "a test", "licence": "Apache-2.0", "data": "none", "split": "none"},
    } | changes
    return {key: value for key, value in manifest.items() if value is not None}


def encoded(image: np.ndarray, extension: str = ".png", *options: int) -> bytes:
    """Image file bytes."""
    ok, data = cv2.imencode(extension, image, list(options))
    assert ok
    return bytes(data)


def scene(width: int, height: int, *, colour: bool = False, seed: int = 0) -> np.ndarray:
    """A smooth image with edges and a little noise, as a camera gives it."""
    rng = np.random.default_rng(seed)
    channels = (3,) if colour else ()
    coarse = rng.integers(20, 235, (9, 12, *channels)).astype(np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    image[height // 3 : height // 3 + max(1, height // 60)] *= 0.3
    image += rng.normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture
def make_package(tmp_path: Path) -> MakePackage:
    """Write a package; returns its folder."""

    def make(model: bytes | None = None, **changes: Any) -> Path:
        data = mean_classifier() if model is None else model
        folder = tmp_path / f"package{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(data)
        text = yaml.safe_dump(manifest_of(data, **changes), sort_keys=False)
        (folder / "manifest.yaml").write_text(text, encoding="utf-8")
        return folder

    return make
