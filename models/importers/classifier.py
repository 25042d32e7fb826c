"""Classifier of scikit-learn on an embedding: its ONNX graph is joined with that of the embedding to one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, compose

from models.errors import ImportRefused
from models.importers.converter import ModelFacts
from models.onnx_bytes import ExternalData, NotOnnx, check_onnx
from models.runtime import make_session
from models.training.embedding import FEATURE_COUNT, FEATURES, embedding_graph
from models.training.graphs import IMAGE
from models.training.recipe import Colour

PROBABILITIES = "probabilities"
_PREFIX = "classifier/"
#: Oldest opset whose operators are those of the embedding.
_OLDEST_OPSET = 13
_ADVICE = "skl2onnx.to_onnx(model, features, options={id(model): {'zipmap': False}})"


@dataclass(frozen=True, slots=True)
class Classifier:
    """Graph from features to probabilities alone, and the names of its classes, if they are texts."""

    graph: onnx.ModelProto
    labels: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Classifier:
        """Read an ONNX file of skl2onnx. Its label output and the maps of ZipMap are left out.

        Raises
        ------
        ImportRefused
            If it is no such file.
        """
        try:
            data = path.read_bytes()
            check_onnx(data)
            model = onnx.load_from_string(data)
        except OSError as error:
            raise ImportRefused(f"{path}: {error.strerror or error}") from error
        except (NotOnnx, ExternalData, DecodeError, ValueError) as error:
            raise ImportRefused(f"{path}: no ONNX file of one classifier: {error}") from error
        graph = model.graph
        inputs = [each for each in graph.input if each.name not in {value.name for value in graph.initializer}]
        shape = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim] if len(inputs) == 1 else []
        if len(shape) != 2 or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
            raise ImportRefused(f"{path}: a classifier on an embedding takes one float tensor (n, features): {_ADVICE}")
        if shape[1] not in (0, FEATURE_COUNT):
            raise ImportRefused(
                f"{path}: it takes {shape[1]} features, the embedding has {FEATURE_COUNT}: fit it to those of "
                "models.training.embedding.embed"
            )
        opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)
        if opset < _OLDEST_OPSET:
            raise ImportRefused(f"{path}: opset {opset}: export it with opset {_OLDEST_OPSET} or newer")
        name = _probabilities(graph)
        if name is None:
            outputs = ", ".join(each.name for each in graph.output)
            raise ImportRefused(f"{path}: its outputs ({outputs}) have no probabilities (n, classes): {_ADVICE}")
        labels = _labels(graph)
        return cls(_with_output(model, inputs[0].name, name), labels)

    def joined(self, embedding: str, colour: Colour) -> onnx.ModelProto:
        """Return the graph from images to probabilities."""
        first, second = embedding_graph(embedding, colour), compose.add_prefix(self.graph, _PREFIX)
        opset = max(each.version for each in second.opset_import if each.domain in ("", "ai.onnx"))
        del first.opset_import[:]
        first.opset_import.append(onnx.helper.make_opsetid("", opset))
        first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
        joined = compose.merge_models(
            first,
            second,
            io_map=[(FEATURES, second.graph.input[0].name)],
            outputs=[_PREFIX + PROBABILITIES],
        )
        for node in joined.graph.node:
            node.output[:] = [PROBABILITIES if each == _PREFIX + PROBABILITIES else each for each in node.output]
        joined.graph.output[0].name = PROBABILITIES
        del joined.graph.value_info[:]
        return joined


class ClassifierFile:
    """Classifier that is an ONNX file already, in place of `models.importers.converter.Converter`."""

    def __init__(self, path: Path) -> None:
        self._classifier = Classifier.read(path)

    def __enter__(self) -> ClassifierFile:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def convert(self, job: Mapping[str, Any]) -> ModelFacts:
        """Copy the graph to the place that the job names."""
        onnx.save(self._classifier.graph, job["onnx"])
        return ModelFacts(IMAGE, "float32", (None, FEATURE_COUNT), {PROBABILITIES: (1, 0)}, {"onnx": onnx.__version__})

    def run(
        self, tensors: Sequence[NDArray[Any]], images: Sequence[Path], spec: Mapping[str, Any]
    ) -> tuple[list[dict[str, NDArray[Any]]], list[dict[str, NDArray[Any]]]]:
        """Return the outputs of the classifier alone for features."""
        session = make_session(self._classifier.graph.SerializeToString(), 1)
        name = session.get_inputs()[0].name
        return [{PROBABILITIES: session.run([PROBABILITIES], {name: each})[0]} for each in tensors], []


def join_embedding(path: Path, embedding: str, colour: str | None) -> dict[str, str]:
    """Put the embedding before the classifier in a file, and return the facts that the manifest needs.

    Raises
    ------
    ImportRefused
        If the file is no classifier, or the colour of the images is not stated.
    """
    if colour not in ("grey", "rgb"):
        raise ImportRefused("--embedding: state --colour grey or rgb, that of the images that the classifier has seen")
    classifier = Classifier.read(path)
    joined = classifier.joined(embedding, "grey" if colour == "grey" else "rgb")
    onnx.checker.check_model(joined, full_check=False)
    onnx.save(joined, str(path))
    facts = {"task": "classification", "output": f"scores={PROBABILITIES}", "activation": "none"}
    labels = classifier.labels
    return facts if not labels or any("," in label for label in labels) else {**facts, "labels": ",".join(labels)}


def _probabilities(graph: onnx.GraphProto) -> str | None:
    """Return the name of the probabilities: the input of ZipMap, or else the output of floats with two axes."""
    for node in graph.node:
        if node.op_type == "ZipMap":
            return str(node.input[0])
    for value in graph.output:
        kind = value.type.tensor_type
        if kind.elem_type == TensorProto.FLOAT and len(kind.shape.dim) == 2:
            return str(value.name)
    return None


def _labels(graph: onnx.GraphProto) -> tuple[str, ...]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("classlabels_strings", "classlabels_string", "cats_strings") and attribute.strings:
                return tuple(each.decode("utf-8", "replace") for each in attribute.strings)
    return ()


def _with_output(model: onnx.ModelProto, given: str, name: str) -> onnx.ModelProto:
    """Return the part of a graph that makes one output, under the name of the probabilities."""
    needed, kept = {name}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    constants = [each for each in model.graph.initializer if each.name in needed]
    nodes = list(reversed(kept))
    for node in nodes:
        node.output[:] = [PROBABILITIES if each == name else each for each in node.output]
        node.input[:] = [PROBABILITIES if each == name else each for each in node.input]
    graph = onnx.helper.make_graph(
        nodes,
        "classifier",
        [onnx.helper.make_tensor_value_info(given, TensorProto.FLOAT, ["n", FEATURE_COUNT])],
        [onnx.helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["n", None])],
        constants,
    )
    imports = list(model.opset_import)
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=max(8, model.ir_version))
