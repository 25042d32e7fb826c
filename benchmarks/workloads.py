"""Workloads: images of three sizes, and networks of three costs, as model packages.

The images are the solar cells of the demo: one cell of 300x300, converted from PNG to JPEG; or a wall of cells in false
colour, of 640x480 and 1920x1080. The networks ``small`` and ``medium`` have random weights: their scores mean nothing;
they cost about 0.5 and 10 ms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from models import default_model_path
from models.datasets.elpv import load_cells
from models.opencv import cv2

#: Number of different images of a workload; they are sent again and again.
IMAGES = 64
JPEG_QUALITY = 90
_SIDE = 224


@dataclass(frozen=True, slots=True)
class Workload:
    """Images of one size for one network."""

    name: str
    size_wh: tuple[int, int]
    network: str

    @property
    def colour(self) -> bool:
        """True if the images and the model's input have colours."""
        return self.network != "demo"


WORKLOADS = (
    Workload("demo-300x300", (300, 300), "demo"),
    Workload("small-640x480", (640, 480), "small"),
    Workload("medium-640x480", (640, 480), "medium"),
    Workload("small-1920x1080", (1920, 1080), "small"),
    Workload("medium-1920x1080", (1920, 1080), "medium"),
)


def workload(name: str) -> Workload:
    """Return a workload by its name.

    Raises
    ------
    KeyError
        If there is no such workload.
    """
    return {each.name: each for each in WORKLOADS}[name]


@cache
def images(size_wh: tuple[int, int], colour: bool, count: int = IMAGES) -> tuple[bytes, ...]:
    """Return JPEG images, the same ones each time."""
    cells = [cell for cell in load_cells() if cell.split == "test"]
    chosen = [cells[number * len(cells) // count] for number in range(count)]
    if not colour:
        grey = (_grey(cell.path) for cell in chosen)
        return tuple(_jpeg(cv2.resize(pixels, size_wh) if size_wh != (300, 300) else pixels) for pixels in grey)
    tiles = [_grey(cell.path) for cell in chosen]
    return tuple(_jpeg(_wall(tiles[number:] + tiles[:number], size_wh)) for number in range(count))


def package(network: str, folder: Path) -> Path:
    """Return the model package of a network: the one that ships, or one that is written into ``folder``."""
    if network == "demo":
        return default_model_path()
    target = folder / network
    target.mkdir(parents=True, exist_ok=True)
    data = _network(_LAYERS[network])
    (target / "model.onnx").write_bytes(data)
    manifest = {
        "manifest_version": 1, "name": f"bench-{network}", "version": "1.0.0", "task": "classification",
        "sha256": hashlib.sha256(data).hexdigest(),
        "input": {"name": "image", "width": _SIDE, "height": _SIDE, "colour": "rgb", "dtype": "uint8"},
        "outputs": {"names": {"scores": "logit"}, "activation": "sigmoid"},
        # With random weights, scores may lie in [0, 1] by chance.
        "labels": ["good", "bad"], "good_label": "good", "overrule": ["activation"],
        "decision": {"recipe_id": "bench", "revision": 1, "threshold": 0.5},
        "training": {"provenance": "random weights", "licence": "none", "data": "none", "split": "none"},
    }  # fmt: skip
    (target / "manifest.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
    return target


def _grey(path: Path) -> np.ndarray:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def _jpeg(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])


def _wall(tiles: Sequence[np.ndarray], size_wh: tuple[int, int]) -> np.ndarray:
    """Return a picture that is filled with cells side by side."""
    width, height = size_wh
    across, down = -(-width // 300), -(-height // 300)
    rows = [np.hstack([tiles[(row * across + column) % len(tiles)] for column in range(across)]) for row in range(down)]
    return np.asarray(cv2.applyColorMap(np.vstack(rows)[:height, :width], cv2.COLORMAP_BONE))


#: Output channels and stride of each 3x3 convolution.
_LAYERS = {
    "tiny": ((8, 8),),
    "small": ((12, 4), (32, 1), (48, 2), (64, 2)),
    "medium": ((32, 2), (56, 1), (96, 2), (128, 2), (160, 1), (192, 2), (224, 1)),
}


def _network(layers: Sequence[tuple[int, int]]) -> bytes:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["x0"]),
    ]
    weights = {"scale": np.array(1 / 255, np.float32)}
    channels = 3
    for number, (wide, stride) in enumerate(layers):
        spread = (2 / (9 * channels)) ** 0.5
        weights[f"w{number}"] = random.normal(0, spread, (wide, channels, 3, 3)).astype(np.float32)
        weights[f"b{number}"] = np.zeros(wide, np.float32)
        nodes.append(
            helper.make_node(
                "Conv", [f"x{number}", f"w{number}", f"b{number}"], [f"c{number}"],
                kernel_shape=[3, 3], strides=[stride, stride], pads=[1, 1, 1, 1],
            )
        )  # fmt: skip
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"x{number + 1}"]))
        channels = wide
    weights["head"] = random.normal(0, 1, (channels, 1)).astype(np.float32)
    nodes += [
        helper.make_node("GlobalAveragePool", [f"x{len(layers)}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logit"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 3, _SIDE, _SIDE])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
