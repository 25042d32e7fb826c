"""Reader of the graph of an ONNX file without the ``onnx`` package: nodes, constants, functions, metadata.

Call `models.onnx_bytes.check_onnx` first. Field numbers are those of ``onnx.proto3``
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3). Nothing is computed and no tensor is copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from models.protobuf import Malformed, ParseBudget, fields, float_of

#: Most elements of a constant whose values are read: one for each channel, and some more.
_MAX_VALUES = 64
#: Most bytes of a piece of metadata: the names of some thousand classes.
_MAX_TEXT_BYTES = 256 * 1024
#: ``TensorProto.DataType`` -> dtype of ``raw_data``.
_RAW_DTYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
_BOOL = 9


@dataclass(frozen=True, slots=True)
class Node:
    """Operator; ``graphs`` are its subgraphs by attribute, ``value`` is the content of a ``Constant``."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    graphs: Mapping[str, Graph] = field(default_factory=dict)
    value: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes with the names of inputs and outputs; ``constants`` are the small ones, with their values."""

    nodes: tuple[Node, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    constants: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """Main graph, the functions by domain and name, and the metadata that the exporter wrote."""

    graph: Graph
    functions: Mapping[str, Graph]
    metadata: Mapping[str, str]

    def graphs(self) -> Iterator[Graph]:
        """Yield all graphs: the main one, those of functions, and subgraphs."""
        waiting = [self.graph, *self.functions.values()]
        while waiting:
            graph = waiting.pop()
            yield graph
            waiting += [inner for node in graph.nodes for inner in node.graphs.values()]


def read_model(data: bytes) -> OnnxModel:
    """Read the graph of a file that `check_onnx` found sound.

    Raises
    ------
    Malformed
        If the bytes are not a valid ONNX model.

    Examples
    --------
    >>> read_model(bytes([0x08, 7, 0x3A, 6, 0x0A, 4, 0x22, 2, 0x41, 0x42])).graph.nodes[0].op
    'AB'
    """
    budget, graphs, functions, metadata = ParseBudget(), [], {}, {}
    for each in fields(memoryview(data), budget):
        if each.data is None:
            continue
        if each.number == 7:
            graphs.append(each.data)
        elif each.number == 14:
            key, value = _pair(each.data, budget)
            metadata[key] = value
        elif each.number == 25:
            name, function = _function(each.data, budget)
            functions[name] = function
    return OnnxModel(_graph(graphs, budget), functions, metadata)


def _pair(data: memoryview, budget: ParseBudget) -> tuple[str, str]:
    found = {1: "", 2: ""}
    for each in fields(data, budget):
        if each.data is not None and each.number in found and len(each.data) <= _MAX_TEXT_BYTES:
            found[each.number] = _text(each.data)
    return found[1], found[2]


def _graph(parts: list[memoryview], budget: ParseBudget) -> Graph:
    """Read a graph; several parts of a message are merged."""
    nodes: list[Node] = []
    names: dict[int, list[str]] = {11: [], 12: []}
    constants: dict[str, tuple[float, ...]] = {}
    for data in parts:
        for each in fields(data, budget):
            if each.data is None:
                continue
            if each.number == 1:
                nodes.append(_node(each.data, budget))
            elif each.number == 5:
                name, values = _tensor(each.data, budget)
                if values is not None:
                    constants[name] = values
            elif each.number in names:
                names[each.number].append(_named(each.data, budget))
    return Graph(tuple(nodes), tuple(names[11]), tuple(names[12]), constants)


def _function(data: memoryview, budget: ParseBudget) -> tuple[str, Graph]:
    texts: dict[int, list[str]] = {1: [], 4: [], 5: [], 10: []}
    nodes = []
    for each in fields(data, budget):
        if each.data is None:
            continue
        if each.number == 7:
            nodes.append(_node(each.data, budget))
        elif each.number in texts:
            texts[each.number].append(_text(each.data))
    name = _full_name("".join(texts[10][-1:]), "".join(texts[1][-1:]))
    return name, Graph(tuple(nodes), tuple(texts[4]), tuple(texts[5]))


def _node(data: memoryview, budget: ParseBudget) -> Node:
    inputs, outputs, op, domain, value = [], [], "", "", None
    graphs: dict[str, Graph] = {}
    for each in fields(data, budget):
        if each.data is None:
            continue
        if each.number == 1:
            inputs.append(_text(each.data))
        elif each.number == 2:
            outputs.append(_text(each.data))
        elif each.number == 4:
            op = _text(each.data)
        elif each.number == 7:
            domain = _text(each.data)
        elif each.number == 5:
            name, found, graph = _attribute(each.data, budget)
            if graph is not None:
                graphs[name] = graph
            elif found is not None and name.startswith("value"):
                value = found
    return Node(_full_name(domain, op), tuple(inputs), tuple(outputs), graphs, value)


def _full_name(domain: str, name: str) -> str:
    """Return the name of an operator, with its domain unless that is ONNX's own."""
    return name if domain in ("", "ai.onnx") else f"{domain}::{name}"


def _attribute(data: memoryview, budget: ParseBudget) -> tuple[str, tuple[float, ...] | None, Graph | None]:
    name, values, graphs = "", None, []
    numbers: list[float] = []
    for each in fields(data, budget):
        if each.number == 2:
            numbers.append(float_of(each.value))
        elif each.number == 3:
            numbers.append(float(each.value))
        elif each.data is None:
            continue
        elif each.number == 1:
            name = _text(each.data)
        elif each.number == 5:
            _, values = _tensor(each.data, budget)
        elif each.number == 6:
            graphs.append(each.data)
        elif each.number == 7 and len(each.data) <= 4 * _MAX_VALUES:
            numbers.extend(_numbers(each.data, "<f4"))
    found = values if values is not None else tuple(numbers[:_MAX_VALUES]) or None
    return name, found, _graph(graphs, budget) if graphs else None


def _tensor(data: memoryview, budget: ParseBudget) -> tuple[str, tuple[float, ...] | None]:
    """Read the name of a tensor, and its values if they are few."""
    name, kind, raw = "", 0, None
    typed: list[float] = []
    bools: list[float] = []
    for each in fields(data, budget):
        if each.number == 2:
            kind = each.value
        elif each.number == 4 and each.data is None and len(typed) < _MAX_VALUES:
            typed.append(float_of(each.value))
        elif each.number == 5 and len(bools) < _MAX_VALUES:
            # Numbers of one byte each; those of other types are not read.
            bools.extend([float(each.value)] if each.data is None else map(float, each.data[:_MAX_VALUES]))
        elif each.data is None:
            continue
        elif each.number == 8:
            name = _text(each.data)
        elif each.number == 9:
            raw = each.data
        elif each.number == 4 and len(each.data) <= 4 * _MAX_VALUES:
            typed.extend(_numbers(each.data, "<f4"))
        elif each.number == 10 and len(each.data) <= 8 * _MAX_VALUES:
            typed.extend(_numbers(each.data, "<f8"))
    if kind not in _RAW_DTYPES:
        return name, None
    if raw is not None and len(raw) <= np.dtype(_RAW_DTYPES[kind]).itemsize * _MAX_VALUES:
        return name, _numbers(raw, _RAW_DTYPES[kind])
    return name, tuple(bools if kind == _BOOL else typed) or None


def _numbers(data: memoryview, dtype: str) -> tuple[float, ...]:
    if len(data) % np.dtype(dtype).itemsize:
        raise Malformed("a tensor whose bytes do not fit its type")
    return tuple(float(value) for value in np.frombuffer(data, dtype))


def _named(data: memoryview, budget: ParseBudget) -> str:
    return "".join(
        [_text(each.data) for each in fields(data, budget) if each.number == 1 and each.data is not None][-1:]
    )


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")
