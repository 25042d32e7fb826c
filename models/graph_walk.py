"""Walks through an ONNX graph: from an output back to the operators that made its numbers, and from the input forward.

The walks skip operators that only move, copy, pick or average numbers, so that ``Softmax``, ``Cast``, ``Reshape`` ends
in ``Softmax``. The operators are defined in https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from models.onnx_graph import Graph, Node, OnnxModel

_Makers = Mapping[str, tuple[Node, int]]

#: Numbers of the inputs whose values an operator passes on, by operator; None for all inputs.
_PASSED: Mapping[str, tuple[int, ...] | None] = {
    **dict.fromkeys(
        (
            "Identity", "Cast", "CastLike", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Dropout",
            "Split", "Slice", "Gather", "GatherND", "GatherElements", "Expand", "Tile", "Clip", "Compress", "Pad",
            "TopK",
            "QuantizeLinear", "DequantizeLinear", "com.microsoft::QuantizeLinear", "com.microsoft::DequantizeLinear",
            "ReduceMax", "ReduceMin", "ReduceMean", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "AveragePool",
            "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "SequenceAt", "SplitToSequence",
        ),
        (0,),
    ),
    **dict.fromkeys(("Concat", "Mean", "Max", "Min", "ConcatFromSequence", "SequenceConstruct"), None),
    "Where": (1, 2),
    "ScatterND": (0, 2),
    "ScatterElements": (0, 2),
}  # fmt: skip
#: Output of ``TopK`` that has no numbers of its input, but their places.
_INDICES = ("TopK", 1)
_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Neg")
#: Most steps of one walk. On a hostile graph a walk ends early, with the operators found so far.
_MAX_STEPS = 100_000
_MAX_DEPTH = 50


@dataclass(slots=True, eq=False)
class _Scope:
    """Graph at the place of one call: the node that makes each name, and the outer names of the graph's inputs."""

    graph: Graph
    makers: _Makers
    outer: _Scope | None = None
    bound: Mapping[str, tuple[_Scope, str]] = field(default_factory=dict)
    depth: int = 0
    inner: dict[int, list[_Scope]] = field(default_factory=dict)


class _Scopes:
    """Maker of scopes. It finds the node that makes each name once for a graph, however often the graph is called."""

    def __init__(self) -> None:
        self._makers: dict[int, _Makers] = {}

    def of(
        self,
        graph: Graph,
        outer: _Scope | None = None,
        bound: Mapping[str, tuple[_Scope, str]] | None = None,
        depth: int = 0,
    ) -> _Scope:
        """Return a new scope of a graph; the graph must outlive this object."""
        makers = self._makers.get(id(graph))
        if makers is None:
            makers = self._makers[id(graph)] = {
                name: (node, index) for node in graph.nodes for index, name in enumerate(node.outputs)
            }
        return _Scope(graph, makers, outer, bound or {}, depth)


def ends_in(model: OnnxModel, output: str, *, scaled: bool = False) -> frozenset[str]:
    """Return the names of the operators that make the numbers of an output.

    The walk follows subgraphs and functions. A constant or an input of the graph adds no operator. With ``scaled`` the
    walk also passes arithmetic with constants, such as a factor of 100.

    Examples
    --------
    >>> nodes = (Node("Softmax", ("logits",), ("p",)), Node("Identity", ("p",), ("out",)))
    >>> sorted(ends_in(OnnxModel(Graph(nodes), {}, {}), "out"))
    ['Softmax']
    """
    scopes = _Scopes()
    return frozenset(node.op for _, node in _ends(model, scopes, (scopes.of(model.graph), output), scaled))


def chained_in(model: OnnxModel, output: str, operators: Collection[str]) -> frozenset[str]:
    """Return those of the operators that make an output from numbers that one of the operators has made.

    Examples
    --------
    >>> nodes = (Node("Sigmoid", ("x",), ("p",)), Node("Softmax", ("p",), ("out",)))
    >>> sorted(chained_in(OnnxModel(Graph(nodes), {}, {}), "out", ("Sigmoid", "Softmax")))
    ['Softmax']
    """
    scopes = _Scopes()
    found = set[str]()
    for scope, node in _ends(model, scopes, (scopes.of(model.graph), output)):
        if node.op in operators and node.op not in found and node.inputs:
            before = _ends(model, scopes, (scope, node.inputs[0]))
            found.update(node.op for _, each in before if each.op in operators)
    return frozenset(found)


def _ends(
    model: OnnxModel, scopes: _Scopes, start: tuple[_Scope, str], scaled: bool = False
) -> Iterator[tuple[_Scope, Node]]:
    """Yield the nodes that make the numbers of a name, with their scopes."""
    waiting = [start]
    seen: set[tuple[int, str]] = set()
    while waiting and len(seen) < _MAX_STEPS:
        scope, name = waiting.pop()
        if (id(scope), name) in seen:
            continue
        seen.add((id(scope), name))
        made = scope.makers.get(name)
        if made is None:
            if name in scope.bound:
                waiting.append(scope.bound[name])
            elif scope.outer is not None and name not in scope.graph.inputs and name not in scope.graph.constants:
                waiting.append((scope.outer, name))
            continue
        node, index = made
        inner = _inside(model, scopes, scope, node, index)
        if inner is not None:
            waiting.extend(inner)
        elif node.op in _PASSED and (node.op, index) != _INDICES:
            followed = _PASSED[node.op]
            inputs = node.inputs if followed is None else [node.inputs[n] for n in followed if n < len(node.inputs)]
            waiting.extend((scope, each) for each in inputs if each)
        elif scaled and node.op in _ARITHMETIC and any(_is_constant(scope, each) for each in node.inputs):
            waiting.extend((scope, each) for each in node.inputs)
        elif node.op not in ("Constant", "ConstantOfShape"):
            yield scope, node


def _is_constant(scope: _Scope | None, name: str) -> bool:
    while scope is not None:
        if name in scope.graph.constants:
            return True
        if name in scope.makers:
            return scope.makers[name][0].op == "Constant"
        if name in scope.bound:
            scope, name = scope.bound[name]
        else:
            scope = scope.outer
    return False


def _inside(model: OnnxModel, made: _Scopes, scope: _Scope, node: Node, index: int) -> list[tuple[_Scope, str]] | None:
    """Return where an output of a node is made, if the node is a function or has subgraphs."""
    function = model.functions.get(node.op)
    if function is None and node.op not in ("If", "Loop", "Scan"):
        return None
    if scope.depth >= _MAX_DEPTH:
        return []
    scopes = scope.inner.get(id(node))
    if scopes is None:
        if function is not None:
            bound = {name: (scope, given) for name, given in zip(function.inputs, node.inputs, strict=False)}
            scopes = [made.of(function, None, bound, scope.depth + 1)]
        else:
            scopes = [made.of(each, scope, {}, scope.depth + 1) for each in node.graphs.values()]
        scope.inner[id(node)] = scopes
    # The first output of a loop body is the condition to continue.
    at = index + 1 if node.op == "Loop" else index
    return [(each, each.graph.outputs[at]) for each in scopes if at < len(each.graph.outputs)]


@dataclass(frozen=True, slots=True)
class Scaling:
    """Constants by which a graph first divides its pixels (or 1 / factor), and constants that it subtracts or adds.

    ``channel_offsets`` are the constants for a channel that was picked before: with them a graph converts one
    normalisation of its input to another.
    """

    divisors: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    channel_offsets: tuple[float, ...] = ()


_BEFORE = {
    "Identity",
    "Cast",
    "Transpose",
    "Resize",
    "Reshape",
    "Unsqueeze",
    "Squeeze",
    "Slice",
    "Gather",
    "Clip",
    "Pad",
}


def scaling_of(model: OnnxModel, image: str) -> Scaling:
    """Return the arithmetic with constants between the input and the first layer.

    Examples
    --------
    >>> nodes = (Node("Cast", ("x",), ("f",)), Node("Div", ("f", "c"), ("y",)), Node("Conv", ("y", "w"), ("z",)))
    >>> scaling_of(OnnxModel(Graph(nodes, constants={"c": (255.0,)}), {}, {}), "x")
    Scaling(divisors=(255.0,), offsets=(), channel_offsets=())
    """
    constants = dict(model.graph.constants)
    constants |= {n.outputs[0]: n.value for n in model.graph.nodes if n.op == "Constant" and n.value and n.outputs}
    users: dict[str, list[Node]] = {}
    for node in model.graph.nodes:
        for name in node.inputs[:2]:
            users.setdefault(name, []).append(node)
    divisors: list[float] = []
    offsets: dict[bool, list[float]] = {False: [], True: []}
    waiting, seen = [image], set[str]()
    picked = set[str]()
    while waiting and len(seen) < 1000:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in users.get(name, ()):
            other = next((constants[each] for each in node.inputs if each != name and each in constants), None)
            if node.op in ("Div", "Mul") and other is not None:
                divisors += [v if node.op == "Div" else 1 / v for v in other if v]
            elif node.op in ("Sub", "Add") and other is not None:
                offsets[name in picked and len(other) == 1] += [v for v in other if v]
            elif node.op not in _BEFORE or node.inputs[0] != name:
                continue
            waiting += node.outputs[:1]
            if name in picked or node.op == "Slice" or (node.op == "Gather" and other is not None and len(other) == 1):
                picked.update(node.outputs[:1])
    return Scaling(tuple(divisors), tuple(offsets[False]), tuple(offsets[True]))
