"""ONNX graphs of `inspection train`: from the image to the features of places, and on to the map of distances.

Training and the finished package run the same graph up to the features, so they see the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.training.padim import Gaussians

BACKBONE = Path(__file__).parents[1] / "backbones" / "efficientnet_lite0" / "backbone.onnx"
#: Channels of the maps of the backbone, and the size of their cells in pixels of the input.
CHANNELS = {"s2": 40, "s4": 112, "s5": 192, "last": 1280}
STRIDES = {"s2": 8, "s4": 16, "s5": 32, "last": 32}
IMAGE, MAP = "image", "map"
_STEM = "_conv_stem.weight.f16"
_FEATURES = "features"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Recipe of an anomaly model.

    Parameters
    ----------
    name
        Name for people.
    size
        Width and height of the input in pixels, a multiple of 32.
    taps
        Maps of the backbone that are joined.
    grid
        Places on each side of the map; 1: the whole image is one place.
    channels
        Channels that are kept of all joined ones. They are drawn with a fixed seed.
    is_alike
        True if all places share one Gaussian, for surfaces that look the same everywhere.
    """

    name: str
    size: int
    taps: tuple[str, ...]
    grid: int
    channels: int
    is_alike: bool = False

    @property
    def places(self) -> int:
        """Number of places."""
        return self.grid**2

    def drawn(self) -> NDArray[np.int64]:
        """Return the indices of the kept channels, in order."""
        every = sum(CHANNELS[tap] for tap in self.taps)
        return np.sort(np.random.default_rng(1).choice(every, min(self.channels, every), replace=False))


def feature_graph(recipe: Recipe, colour: Literal["grey", "rgb"]) -> onnx.ModelProto:
    """Return the graph from images to features.

    ``image`` is ``(n, 1 or 3, size, size)`` uint8; ``features`` is ``(places, n, channels)`` float32.
    """
    model = _backbone(recipe.taps, colour)
    nodes, constants = model.graph.node, model.graph.initializer
    cells = []
    for tap in recipe.taps:
        x, side = tap, recipe.size // STRIDES[tap]
        if recipe.grid > 1:
            # Neighbours make a place less sensitive to a shift of the part by a few pixels.
            x = _pool(nodes, x, f"{tap}.near", kernel=3, stride=1, pad=1)
        if side > recipe.grid:
            x = _pool(nodes, x, f"{tap}.cell", kernel=side // recipe.grid, stride=side // recipe.grid)
        elif side < recipe.grid:
            factor = recipe.grid // side
            constants.append(numpy_helper.from_array(np.array([1, 1, factor, factor], np.float32), f"{tap}.factor"))
            nodes.append(
                helper.make_node(
                    "Resize", [x, "", f"{tap}.factor"], [f"{tap}.cell"], mode="nearest",
                    coordinate_transformation_mode="asymmetric", nearest_mode="floor",
                )
            )  # fmt: skip
            x = f"{tap}.cell"
        cells.append(x)
    nodes.append(helper.make_node("Concat", cells, ["joined"], axis=1))
    constants.append(numpy_helper.from_array(recipe.drawn(), "drawn"))
    constants.append(numpy_helper.from_array(np.array([0, 0, -1]), "flat"))
    nodes.append(helper.make_node("Gather", ["joined", "drawn"], ["kept"], axis=1))
    nodes.append(helper.make_node("Reshape", ["kept", "flat"], ["by_channel"]))
    nodes.append(helper.make_node("Transpose", ["by_channel"], [_FEATURES], perm=[2, 0, 1]))
    return _finished(model, _FEATURES, [recipe.places, "n", len(recipe.drawn())], recipe, colour)


def anomaly_graph(recipe: Recipe, colour: Literal["grey", "rgb"], gaussians: Gaussians) -> onnx.ModelProto:
    """Return the graph from images to ``map``, ``(n, 1, grid, grid)`` float32: the distance of each place."""
    model = feature_graph(recipe, colour)
    nodes, constants = model.graph.node, model.graph.initializer
    constants.append(numpy_helper.from_array(gaussians.mean[:, None], "mean_of_good"))
    constants.append(numpy_helper.from_array(gaussians.whitening.astype(np.float16), "whitening.f16"))
    constants.append(numpy_helper.from_array(np.array([-1, 1, recipe.grid, recipe.grid]), "square"))
    nodes.extend(
        [
            helper.make_node("Cast", ["whitening.f16"], ["whitening"], to=TensorProto.FLOAT),
            helper.make_node("Sub", [_FEATURES, "mean_of_good"], ["centred_features"]),
            helper.make_node("MatMul", ["centred_features", "whitening"], ["whitened"]),
            helper.make_node("ReduceL2", ["whitened"], ["distances"], axes=[2], keepdims=0),
            helper.make_node("Transpose", ["distances"], ["by_image"], perm=[1, 0]),
            helper.make_node("Reshape", ["by_image", "square"], [MAP]),
        ]
    )
    return _finished(model, MAP, ["n", 1, recipe.grid, recipe.grid], recipe, colour)


def _backbone(taps: Sequence[str], colour: str) -> onnx.ModelProto:
    """Return the part of the backbone that the taps need; for grey images its three colour filters are summed."""
    model = onnx.load(str(BACKBONE))
    if colour == "grey":
        [stem] = [each for each in model.graph.initializer if each.name == _STEM]
        grey = numpy_helper.to_array(stem).astype(np.float32).sum(axis=1, keepdims=True)
        stem.CopyFrom(numpy_helper.from_array(grey.astype(np.float16), _STEM))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 if colour == "grey" else 3
    needed, nodes = set(taps), []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    kept = [each for each in model.graph.initializer if each.name in needed]
    del model.graph.node[:], model.graph.initializer[:], model.graph.output[:]
    model.graph.node.extend(reversed(nodes))
    model.graph.initializer.extend(kept)
    return model


def _pool(nodes: object, x: str, name: str, *, kernel: int, stride: int, pad: int = 0) -> str:
    nodes.append(  # type: ignore[attr-defined]
        helper.make_node(
            "AveragePool", [x], [name], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4,
            count_include_pad=0,
        )
    )  # fmt: skip
    return name


def _finished(
    model: onnx.ModelProto, output: str, shape: Sequence[int | str], recipe: Recipe, colour: str
) -> onnx.ModelProto:
    channels = 1 if colour == "grey" else 3
    del model.graph.input[:], model.graph.output[:]
    model.graph.input.append(
        helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["n", channels, recipe.size, recipe.size])
    )
    model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, shape))
    return model
