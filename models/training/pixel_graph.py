"""ONNX graphs of the recipe that compares pixels with those of good parts.

The images are aligned, so that a place shows the same spot of every part. A place is two pixels wide and high. It has
the mean colours of its neighbourhood of 3 x 3 places, without those of a wide neighbourhood, 72 x 72: light that varies
slowly does not count. Small defects of printed, milled or mounted parts, of few pixels, are seen this way; the features
of the backbone do not show them.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.training.products import GoodParts
from models.training.recipe import Recipe

_LOCAL = "local"
#: Places along each side of a cell of the wide neighbourhood, and cells along each side of it.
_WIDE_CELL, _WIDE_CELLS = 8, 9


def pixel_features(recipe: Recipe, image: str, features: str) -> onnx.ModelProto:
    """Return the graph from images ``(n, colours, size, size)`` uint8 to features ``(places, n, colours)`` float32."""
    graph = _local(recipe, image)
    graph.initializer.append(numpy_helper.from_array(np.array([0, 0, -1]), "flat"))
    graph.node.append(helper.make_node("Reshape", [_LOCAL, "flat"], ["by_colour"]))
    graph.node.append(helper.make_node("Transpose", ["by_colour"], [features], perm=[2, 0, 1]))
    return _model(graph, features, [recipe.places, "n", recipe.channels])


def pixel_map(recipe: Recipe, good: GoodParts, image: str, output: str) -> onnx.ModelProto:
    """Return the graph from images to the map ``(n, 1, cells, cells)`` float32: the largest distance in each cell.

    The whitening matrices are triangular; each of their numbers is a plane over all places.
    """
    graph, [gaussians] = _local(recipe, image), good.products
    nodes, constants = graph.node, graph.initializer
    side, colours = recipe.grid, range(recipe.channels)
    mean = gaussians.mean.T.reshape(1, recipe.channels, side, side)
    constants.append(numpy_helper.from_array(np.ascontiguousarray(mean), "mean_of_good"))
    constants.append(numpy_helper.from_array(np.ones(recipe.channels, np.int64), "one_each"))
    nodes.append(helper.make_node("Sub", [_LOCAL, "mean_of_good"], ["centred"]))
    nodes.append(
        helper.make_node("Split", ["centred", "one_each"], [f"centred.{colour}" for colour in colours], axis=1)
    )
    squares = []
    for to in colours:
        parts = []
        for colour in range(to, recipe.channels):
            plane = gaussians.whitening[:, colour, to].astype(np.float16).reshape(1, 1, side, side)
            name = f"whitening.{colour}.{to}"
            constants.append(numpy_helper.from_array(plane, f"{name}.f16"))
            nodes.append(helper.make_node("Cast", [f"{name}.f16"], [name], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"centred.{colour}", name], [f"{name}.part"]))
            parts.append(f"{name}.part")
        nodes.append(helper.make_node("Sum", parts, [f"whitened.{to}"]))
        nodes.append(helper.make_node("Mul", [f"whitened.{to}"] * 2, [f"square.{to}"]))
        squares.append(f"square.{to}")
    nodes.append(helper.make_node("Sum", squares, ["squared"]))
    nodes.append(
        helper.make_node("MaxPool", ["squared"], ["worst"], kernel_shape=[recipe.pool] * 2, strides=[recipe.pool] * 2)
    )
    nodes.append(helper.make_node("Sqrt", ["worst"], [output]))
    return _model(graph, output, ["n", 1, recipe.cells, recipe.cells])


def _local(recipe: Recipe, image: str) -> onnx.GraphProto:
    """Return the graph from images to ``local``, ``(n, colours, grid, grid)`` float32."""
    cell, half = recipe.size // recipe.grid, _WIDE_CELLS // 2
    wide = np.array([1, 1, _WIDE_CELL, _WIDE_CELL], np.float32)
    shape: list[int | str] = ["n", recipe.channels, recipe.size, recipe.size]
    return helper.make_graph(
        [
            helper.make_node("Cast", [image], ["levels"], to=TensorProto.FLOAT),
            _mean("levels", "places", cell, cell, 0),
            _mean("places", "near", 3, 1, 1),
            _mean("near", "wide.cells", _WIDE_CELL, _WIDE_CELL, 0),
            _mean("wide.cells", "wide.mean", _WIDE_CELLS, 1, half),
            helper.make_node("Resize", ["wide.mean", "", "wide.factor"], ["wide"], mode="linear"),
            helper.make_node("Sub", ["near", "wide"], [_LOCAL]),
        ],
        "pixels",
        [helper.make_tensor_value_info(image, TensorProto.UINT8, shape)],
        [],
        [numpy_helper.from_array(wide, "wide.factor")],
    )


def _mean(x: str, name: str, kernel: int, stride: int, pad: int) -> onnx.NodeProto:
    return helper.make_node(
        "AveragePool", [x], [name], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, count_include_pad=0
    )


def _model(graph: onnx.GraphProto, output: str, shape: list[int | str]) -> onnx.ModelProto:
    graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, shape))
    return helper.make_model(
        graph, producer_name="streaming-inspection", ir_version=9, opset_imports=[helper.make_opsetid("", 17)]
    )
