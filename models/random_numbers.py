"""Search of a graph for operators that give other numbers each time: random ones, and dropout in training mode.

The operators are defined in https://onnx.ai/onnx/operators/ and, those of ``com.microsoft``, in
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping

from models.onnx_graph import Graph, Node, OnnxModel

_Value = tuple[float, ...] | None
_Known = ChainMap[str, _Value]

#: Operators that return other numbers each time, seeded or not.
_RANDOM = frozenset(
    {
        "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
        "com.microsoft::Sampling",
    }
)  # fmt: skip
#: Operator -> place of the input that turns its dropout on.
_TRAINING_MODE: Mapping[str, int] = {
    "Dropout": 2,
    "com.microsoft::BitmaskDropout": 2,
    "com.microsoft::BiasDropout": 4,
    "com.microsoft::BitmaskBiasDropout": 4,
}
#: Operators that pass a constant on.
_COPIES = frozenset({"Identity", "Cast"})
#: Most nodes and constants of one walk. On a hostile graph it ends early, with the operators found so far.
_MAX_STEPS = 100_000


def random_operators(model: OnnxModel) -> frozenset[str]:
    """Return the operators that draw random numbers, in words.

    Dropout draws them if its training mode is true, or if the graph computes it: no constant then says that it is off.

    Examples
    --------
    >>> nodes = (Node("Dropout", ("x", "ratio", "training"), ("y",)),)
    >>> [sorted(random_operators(OnnxModel(Graph(nodes, constants={"training": (on,)}), {}, {}))) for on in (0, 1)]
    [[], ['Dropout in training mode']]
    """
    found = {node.op for graph in model.graphs() for node in graph.nodes if node.op in _RANDOM}
    return frozenset(found | {f"{op} in training mode" for op in _trained(model)})


def _trained(model: OnnxModel) -> Iterator[str]:
    """Yield the operators of dropout whose training mode is not a constant false at one of their places."""
    waiting: list[tuple[Graph, _Known, Mapping[str, _Value]]] = [(model.graph, ChainMap(), {})]
    steps = 0
    while waiting:
        graph, outer, given = waiting.pop()
        # An inner name may hide an outer constant of the same name.
        known: _Known = outer.new_child({**dict.fromkeys(graph.inputs), **given, **graph.constants})
        steps += len(graph.inputs) + len(graph.constants)
        for node in graph.nodes:
            steps += 1
            if steps > _MAX_STEPS:
                return
            place = _TRAINING_MODE.get(node.op)
            if place is not None and node.inputs[place : place + 1] not in ((), ("",)):
                value = known.get(node.inputs[place])
                if value is None or any(value):
                    yield node.op
            known.update(dict.fromkeys(node.outputs))
            if node.outputs:
                known[node.outputs[0]] = _constant(node, known)
            waiting += [(inner, known, {}) for inner in node.graphs.values()]
            function = model.functions.get(node.op)
            if function is not None:
                bound = zip(function.inputs, node.inputs, strict=False)
                waiting.append((function, ChainMap(), {name: known.get(each) for name, each in bound}))


def _constant(node: Node, known: _Known) -> _Value:
    if node.op == "Constant":
        return node.value
    return known.get(node.inputs[0]) if node.op in _COPIES and node.inputs else None
