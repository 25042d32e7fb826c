"""ONNX graphs of `inspection train`: from the image to features, and on to the map of distances and the score.

Training and the finished package run the same graph up to the features, so they see the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from models.training.padim import Gaussians
from models.training.pixel_graph import pixel_features, pixel_map
from models.training.products import PERCENTILE, GoodParts
from models.training.recipe import CHANNELS, STRIDES, Recipe

BACKBONE = Path(__file__).parents[1] / "backbones" / "efficientnet_lite0" / "backbone.onnx"
IMAGE, MAP, SCORES = "image", "map", "scores"
#: Maps of the backbone whose mean and maximum are the features of a whole image.
POOLED_TAPS = ("s2", "s4", "s5", "last")
POOLED = "pooled"
_BY_IMAGE = "by_image"
#: Standard deviations at which a feature is cut. One that hardly varies in the images that were learned from may be
#: hundreds of deviations away in another image, and would decide alone.
MAX_DEVIATIONS = 5.0
_STEM = "_conv_stem.weight.f16"
_FEATURES = "features"
#: Prefix of the names of the recipe of pixels in a graph with the backbone.
_PIXELS = "pixels/"
#: Pixels along each side that the backbone sees as one, in the input of the recipe of pixels.
_REDUCTION = 4


@dataclass(frozen=True, slots=True)
class Head:
    """Logistic head beside the map of good parts. The logit of an image is the larger one of two, see `logits`.

    The first joins head and map. The second is that of the map alone: what the model of good parts rejects is rejected,
    also if the head has not learned to.

    Parameters
    ----------
    mean, scale
        ``(features,)``: the standardised features are ``(pooled - mean) * scale``, cut at `MAX_DEVIATIONS`, of the
        features of the whole image, see `pooled_graph`.
    weights
        ``(features,)``.
    map_weight
        Weight of the score of the map of distances, its `percentile_weights`.
    alone_weight, alone_bias
        Weight of the same score, and bias, in the logit of the map alone.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    map_weight: float
    bias: float
    alone_weight: float = 0.0
    alone_bias: float = -math.inf

    def logits(self, pooled: NDArray[np.floating], scores: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return the logits of images from their features, ``(n, features)`` or ``(features,)``, and map scores."""
        joined = self.standardised(pooled) @ self.weights + self.map_weight * scores + self.bias
        return np.asarray(np.maximum(joined, self.alone_weight * scores + self.alone_bias))

    def standardised(self, pooled: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the standardised features of images, ``(n, features)`` or ``(features,)``."""
        return np.asarray(np.clip((pooled - self.mean) * self.scale, -MAX_DEVIATIONS, MAX_DEVIATIONS))


def percentile_weights(count: int, percentile: float) -> NDArray[np.float64]:
    """Return the weights of the largest of ``count`` numbers, in descending order, that make up a percentile.

    Examples
    --------
    >>> values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0])
    >>> weights = percentile_weights(7, 80)
    >>> bool(np.isclose(np.sort(values)[::-1][: len(weights)] @ weights, np.percentile(values, 80)))
    True
    """
    position = percentile / 100 * (count - 1)
    below = int(position)
    weights = np.zeros(count - below)
    weights[-1] = 1 - (position - below)
    if len(weights) > 1:
        weights[-2] = position - below
    return weights


def feature_graph(recipe: Recipe, colour: Literal["grey", "rgb"]) -> onnx.ModelProto:
    """Return the graph from images to features.

    ``image`` is ``(n, 1 or 3, size, size)`` uint8; ``features`` is ``(places, n, channels)`` float32.
    """
    if recipe.is_of_pixels:
        return pixel_features(recipe, IMAGE, _FEATURES)
    model = _backbone(recipe.taps, colour)
    _add_features(model, recipe)
    return _finished(model, {_FEATURES: [recipe.places, "n", len(recipe.drawn())]}, recipe, colour)


def pooled_graph(recipe: Recipe, colour: Literal["grey", "rgb"]) -> onnx.ModelProto:
    """Return the graph from images to ``pooled``, ``(n, features)`` float32: mean and maximum of each channel."""
    model = _backbone(POOLED_TAPS, colour)
    _reduce_input(model, recipe)
    _add_pooled(model)
    return _finished(model, {POOLED: ["n", 2 * sum(CHANNELS[tap] for tap in POOLED_TAPS)]}, recipe, colour)


def _add_features(model: onnx.ModelProto, recipe: Recipe) -> None:
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


def _add_pooled(model: onnx.ModelProto) -> None:
    nodes, parts = model.graph.node, []
    for tap in POOLED_TAPS:
        for operator in ("GlobalAveragePool", "GlobalMaxPool"):
            parts.append(f"{tap}.{operator}")
            nodes.append(helper.make_node(operator, [tap], [parts[-1]]))
    nodes.append(helper.make_node("Concat", parts, ["pooled_maps"], axis=1))
    nodes.append(helper.make_node("Flatten", ["pooled_maps"], [POOLED], axis=1))


def anomaly_graph(recipe: Recipe, colour: Literal["grey", "rgb"], good: GoodParts) -> onnx.ModelProto:
    """Return the graph from images to ``map``, ``(n, 1, cells, cells)`` float32: the distance of each place."""
    if recipe.is_of_pixels:
        return pixel_map(recipe, good, IMAGE, MAP)
    model = _backbone(recipe.taps, colour)
    _add_features(model, recipe)
    _add_distances(model, good, recipe)
    _add_map(model, recipe, _BY_IMAGE)
    return _finished(model, {MAP: ["n", 1, recipe.grid, recipe.grid]}, recipe, colour)


def labelled_graph(
    recipe: Recipe,
    colour: Literal["grey", "rgb"],
    good: GoodParts,
    head: Head,
    *,
    low: float,
    high: float,
) -> onnx.ModelProto:
    """Return the graph from images to ``scores``, ``(n, 1)``, and to a ``map`` in [0, 1], for the heat map.

    Parameters
    ----------
    low, high
        Distances that are 0 and 1 in the map.
    """
    model = _backbone((*recipe.taps, *POOLED_TAPS), colour)
    nodes, constants = model.graph.node, model.graph.initializer
    _reduce_input(model, recipe)
    _add_pooled(model)
    if recipe.is_of_pixels:
        _add_pixel_distances(model, good, recipe)
    else:
        _add_features(model, recipe)
        _add_distances(model, good, recipe)
    largest = percentile_weights(recipe.cells**2, recipe.percentile)
    # The second column is the logit of the map alone.
    weights = np.stack([head.weights, np.zeros_like(head.weights)], axis=1)
    for name, values in {
        "head.mean": head.mean.astype(np.float32),
        "head.scale": head.scale.astype(np.float32),
        "head.lowest": np.array(-MAX_DEVIATIONS, np.float32),
        "head.highest": np.array(MAX_DEVIATIONS, np.float32),
        "head.weights": weights.astype(np.float32),
        "head.largest": np.outer(largest, [head.map_weight, head.alone_weight]).astype(np.float32),
        "head.bias": np.array([head.bias, head.alone_bias], np.float32),
        "head.count": np.array([len(largest)]),
        "map.low": np.array(low, np.float32),
        "map.range": np.array(high - low, np.float32),
        "map.zero": np.array(0, np.float32),
        "map.one": np.array(1, np.float32),
    }.items():
        constants.append(numpy_helper.from_array(values, name))
    nodes.extend(
        [
            helper.make_node("TopK", [_BY_IMAGE, "head.count"], ["head.distances", "head.places"], axis=1),
            helper.make_node("MatMul", ["head.distances", "head.largest"], ["head.from_map"]),
            helper.make_node("Sub", [POOLED, "head.mean"], ["head.centred"]),
            helper.make_node("Mul", ["head.centred", "head.scale"], ["head.scaled"]),
            helper.make_node("Clip", ["head.scaled", "head.lowest", "head.highest"], ["head.standardised"]),
            helper.make_node("MatMul", ["head.standardised", "head.weights"], ["head.from_image"]),
            helper.make_node("Add", ["head.from_map", "head.from_image"], ["head.from_both"]),
            helper.make_node("Add", ["head.from_both", "head.bias"], ["head.logits"]),
            helper.make_node("ReduceMax", ["head.logits"], ["head.logit"], axes=[1], keepdims=1),
            helper.make_node("Sigmoid", ["head.logit"], [SCORES]),
            helper.make_node("Sub", [_BY_IMAGE, "map.low"], ["map.above_low"]),
            helper.make_node("Div", ["map.above_low", "map.range"], ["map.scaled"]),
            helper.make_node("Clip", ["map.scaled", "map.zero", "map.one"], ["map.clipped"]),
        ]
    )
    _add_map(model, recipe, "map.clipped")
    return _finished(model, {SCORES: ["n", 1], MAP: ["n", 1, recipe.cells, recipe.cells]}, recipe, colour)


def _reduce_input(model: onnx.ModelProto, recipe: Recipe) -> None:
    """Let the backbone see a quarter of the sides of the input of pixels: it costs as much as the map otherwise."""
    if not recipe.is_of_pixels:
        return
    [levels] = [each for each in model.graph.node if IMAGE in each.input]
    [reduced], levels.output[:] = list(levels.output), ["input.levels"]
    pool = helper.make_node(
        "AveragePool", ["input.levels"], [reduced], kernel_shape=[_REDUCTION] * 2, strides=[_REDUCTION] * 2
    )
    model.graph.node.insert(list(model.graph.node).index(levels) + 1, pool)


def _add_pixel_distances(model: onnx.ModelProto, good: GoodParts, recipe: Recipe) -> None:
    """Add the distances of each image, ``(n, cells)``, of the recipe of pixels."""
    square = "by_cell"
    part = compose.add_prefix(pixel_map(recipe, good, IMAGE, square), _PIXELS, rename_inputs=False).graph
    model.graph.node.extend(part.node)
    model.graph.initializer.extend(part.initializer)
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, -1]), "row"))
    model.graph.node.append(helper.make_node("Reshape", [_PIXELS + square, "row"], [_BY_IMAGE]))


def _add_distances(model: onnx.ModelProto, good: GoodParts, recipe: Recipe) -> None:
    """Add the distances of each image, ``(n, places)``; of several products, those of the one that fits best."""
    nodes, constants = model.graph.node, model.graph.initializer
    rows, columns = np.tril_indices(len(recipe.drawn()))
    side = len(recipe.drawn())
    places_of_packed = np.full((side, side), len(rows), np.int32)
    places_of_packed[rows, columns] = np.arange(len(rows))
    constants.append(numpy_helper.from_array(places_of_packed.ravel(), "whitening.places"))
    constants.append(numpy_helper.from_array(np.array([-1, side, side]), "whitening.shape"))
    if len(good.products) == 1:
        _add_product(model, good.products[0], "", _BY_IMAGE)
        return
    largest = percentile_weights(recipe.places, PERCENTILE)
    constants.append(numpy_helper.from_array(largest[:, None].astype(np.float32), "product.largest"))
    for name, number in {"product.count": len(largest), "product.one": 1}.items():
        constants.append(numpy_helper.from_array(np.array([number]), name))
    maps, scores = [], []
    for number, (gaussians, scale) in enumerate(zip(good.products, good.scales, strict=True)):
        suffix = f".{number}"
        _add_product(model, gaussians, suffix, f"distances_by_image{suffix}")
        for name, value in {"middle": scale.middle, "spread": scale.spread}.items():
            constants.append(numpy_helper.from_array(np.array(value, np.float32), f"{name}{suffix}"))
        maps.append(f"map{suffix}")
        scores.append(f"score{suffix}")
        nodes.extend(
            [
                helper.make_node("Sub", [f"distances_by_image{suffix}", f"middle{suffix}"], [f"above{suffix}"]),
                helper.make_node("Div", [f"above{suffix}", f"spread{suffix}"], [f"scaled{suffix}"]),
                helper.make_node("Unsqueeze", [f"scaled{suffix}", "product.one"], [maps[-1]]),
                helper.make_node(
                    "TopK", [f"scaled{suffix}", "product.count"], [f"top{suffix}", f"top_places{suffix}"], axis=1
                ),
                helper.make_node("MatMul", [f"top{suffix}", "product.largest"], [scores[-1]]),
            ]
        )
    nodes.extend(
        [
            helper.make_node("Concat", maps, ["product.maps"], axis=1),
            helper.make_node("Concat", scores, ["product.scores"], axis=1),
            helper.make_node(
                "TopK", ["product.scores", "product.one"], ["product.least", "product.best"], axis=1, largest=0
            ),
            helper.make_node("GatherND", ["product.maps", "product.best"], [_BY_IMAGE], batch_dims=1),
        ]
    )


def _add_product(model: onnx.ModelProto, gaussians: Gaussians, suffix: str, output: str) -> None:
    """Add the distances of one product. Its matrices are triangular: only their lower halves are in the file."""
    nodes, constants = model.graph.node, model.graph.initializer
    whitening = gaussians.whitening
    rows, columns = np.tril_indices(whitening.shape[1])
    packed = np.concatenate([whitening[:, rows, columns], np.zeros((len(whitening), 1))], axis=1)
    constants.append(numpy_helper.from_array(gaussians.mean[:, None], f"mean_of_good{suffix}"))
    constants.append(numpy_helper.from_array(packed.astype(np.float16), f"whitening.f16{suffix}"))
    made = {name: f"good.{name}{suffix}" for name in ("packed", "unfolded", "whitening", "centred", "whitened", "norm")}
    nodes.extend(
        [
            helper.make_node("Cast", [f"whitening.f16{suffix}"], [made["packed"]], to=TensorProto.FLOAT),
            helper.make_node("Gather", [made["packed"], "whitening.places"], [made["unfolded"]], axis=1),
            helper.make_node("Reshape", [made["unfolded"], "whitening.shape"], [made["whitening"]]),
            helper.make_node("Sub", [_FEATURES, f"mean_of_good{suffix}"], [made["centred"]]),
            helper.make_node("MatMul", [made["centred"], made["whitening"]], [made["whitened"]]),
            helper.make_node("ReduceL2", [made["whitened"]], [made["norm"]], axes=[2], keepdims=0),
            helper.make_node("Transpose", [made["norm"]], [output], perm=[1, 0]),
        ]
    )


def _add_map(model: onnx.ModelProto, recipe: Recipe, values: str) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 1, recipe.cells, recipe.cells]), "square"))
    model.graph.node.append(helper.make_node("Reshape", [values, "square"], [MAP]))


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
    model: onnx.ModelProto, outputs: Mapping[str, Sequence[int | str]], recipe: Recipe, colour: str
) -> onnx.ModelProto:
    if recipe.standardisation is not None:
        recipe.standardisation.add_to(model, IMAGE)
    channels = 1 if colour == "grey" else 3
    del model.graph.input[:], model.graph.output[:]
    model.graph.input.append(
        helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["n", channels, recipe.size, recipe.size])
    )
    for output, shape in outputs.items():
        model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, shape))
    return model
