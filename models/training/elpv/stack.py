"""Command ``python -m models.training.elpv.stack``: join the fine-tuned network and the model of good cells.

The network knows the defects that it was shown, the map finds what no good cell has. A logistic regression weighs the
logit of the one and the score of the other. Its three numbers are fitted to the validation split, which neither of them
has seen. The result is one ONNX file.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from models import load_model
from models.datasets.elpv import load_cells
from models.inspect_images import prepare, run
from models.measure_reference import measure_reference, write_reference
from models.package import Model
from models.training.auroc import auroc
from models.training.elpv.good_only import LICENCE, SPLIT
from models.training.elpv.measure import measure, write_manifest
from models.training.graphs import IMAGE, MAP, SCORES, percentile_weights
from models.training.logistic import fit_logistic
from models.training.products import scores_of

log = logging.getLogger(__name__)

_NETWORK, _GOOD = "network/", "good/"
#: Escape costs, in overkills, for which the figures of the test split are stated.
_ESCAPE_COSTS = (1, 5)


def validation_features(network: Model, good: Model) -> tuple[np.ndarray, np.ndarray]:
    """Return logit and score of the map of the validation cells, ``(n, 2)``, and their truth."""
    rows, truth = [], []
    for cell in load_cells("validation"):
        data = cell.path.read_bytes()
        logit = run(network, prepare(data, network)).outputs["scores"]
        distances = run(good, prepare(data, good)).outputs["map"]
        rows.append([logit.item(), scores_of(distances.reshape(1, -1)).item()])
        truth.append(cell.defective)
    return np.array(rows), np.array(truth)


def join(network: Model, good: Model, weights: np.ndarray, bias: float) -> onnx.ModelProto:
    """Return the joined graph: ``scores``, the probability that a cell is defective, and ``map`` in [0, 1]."""
    options = good.manifest.anomaly
    assert options is not None
    parts = []
    for model, prefix in ((network, _NETWORK), (good, _GOOD)):
        graph = onnx.load(str(model.path / model.manifest.file))
        opset = next(each.version for each in graph.opset_import if each.domain == "")
        graph = graph if opset == 17 else version_converter.convert_version(graph, 17)
        graph.ir_version = 9
        del graph.opset_import[:]
        graph.opset_import.append(helper.make_opsetid("", 17))
        parts.append(compose.add_prefix(graph, prefix))
    joined = compose.merge_models(*parts, io_map=[])
    nodes, constants = joined.graph.node, joined.graph.initializer
    for node in nodes:
        node.input[:] = [IMAGE if name in (_NETWORK + IMAGE, _GOOD + IMAGE) else name for name in node.input]
    largest = percentile_weights(int(np.prod(grid := _grid(good))), options.score_percentile) * weights[1]
    for name, values in {
        "stack.logit": np.array(weights[0], np.float32),
        "stack.largest": largest[:, None].astype(np.float32),
        "stack.bias": np.array(bias, np.float32),
        "stack.count": np.array([len(largest)]),
        "stack.flat": np.array([0, -1]),
        "stack.column": np.array([-1, 1]),
        "stack.low": np.array(options.low, np.float32),
        "stack.range": np.array(options.high - options.low, np.float32),
        "stack.zero": np.array(0, np.float32),
        "stack.one": np.array(1, np.float32),
    }.items():
        constants.append(numpy_helper.from_array(values, name))
    distances, logit = _GOOD + good.manifest.outputs.names["map"], _NETWORK + network.manifest.outputs.names["scores"]
    nodes.extend(
        [
            helper.make_node("Reshape", [distances, "stack.flat"], ["stack.distances"]),
            helper.make_node("TopK", ["stack.distances", "stack.count"], ["stack.top", "stack.top_places"], axis=1),
            helper.make_node("MatMul", ["stack.top", "stack.largest"], ["stack.from_map"]),
            helper.make_node("Reshape", [logit, "stack.column"], ["stack.logits"]),
            helper.make_node("Mul", ["stack.logits", "stack.logit"], ["stack.from_network"]),
            helper.make_node("Add", ["stack.from_map", "stack.from_network"], ["stack.from_both"]),
            helper.make_node("Add", ["stack.from_both", "stack.bias"], ["stack.sum"]),
            helper.make_node("Sigmoid", ["stack.sum"], [SCORES]),
            helper.make_node("Sub", [distances, "stack.low"], ["stack.above"]),
            helper.make_node("Div", ["stack.above", "stack.range"], ["stack.scaled"]),
            helper.make_node("Clip", ["stack.scaled", "stack.zero", "stack.one"], [MAP]),
        ]
    )
    size = network.manifest.input.width
    del joined.graph.input[:], joined.graph.output[:]
    joined.graph.input.append(helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["n", 1, size, size]))
    for name, shape in {SCORES: ["n", 1], MAP: ["n", 1, *grid]}.items():
        joined.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    del joined.graph.value_info[:]
    return joined


def _grid(good: Model) -> tuple[int, int]:
    [output] = good.session.get_outputs()
    return int(output.shape[2]), int(output.shape[3])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=Path, default=Path("models/zoo/elpv_cells"))
    parser.add_argument("--good", type=Path, default=Path("models/zoo/elpv_good_only"))
    parser.add_argument("--out", type=Path, default=Path("models/zoo/elpv_stacked"))
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    network, good = load_model(args.network), load_model(args.good)
    features, truth = validation_features(network, good)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    weights, bias = fit_logistic((features - mean) / deviation, truth, 1.0, is_monotonic=True)
    weights = weights / deviation
    bias = float(bias - weights @ mean)
    values = features @ weights + bias
    log.info("validation: AUROC %.4f, accuracy %.4f", auroc(list(values), list(truth)), ((values >= 0) == truth).mean())

    joined = join(network, good, weights, bias)
    onnx.checker.check_model(joined, full_check=True)
    data = joined.SerializeToString()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    (args.out / "model.onnx").write_bytes(data)
    manifest = _manifest(network, hashlib.sha256(data).hexdigest())
    write_manifest(args.out, manifest)
    cells = [cell for cell in load_cells("train") if not cell.defective]
    write_reference(
        args.out, measure_reference(load_model(args.out), [("", cell.path.read_bytes()) for cell in cells[::5]])
    )
    finished = {**manifest, "reference": load_model(args.out).manifest.model_dump()["reference"]}
    finished["metrics"] = {
        "split": "test",
        "defective_from_probability": 0.5,
        "png": measure(args.out, as_jpeg=False, escape_costs=_ESCAPE_COSTS),
        "jpeg_quality_95": measure(args.out, as_jpeg=True),
    }
    write_manifest(args.out, finished)


def _manifest(network: Model, sha256: str) -> dict[str, Any]:
    spec = network.manifest.input
    return {
        "manifest_version": 1,
        "name": "elpv-stacked",
        "version": "2.0.0",
        "task": "classification",
        "file": "model.onnx",
        "sha256": sha256,
        "input": {"name": IMAGE, "width": spec.width, "height": spec.height, "colour": "grey", "layout": "NCHW",
                  "dtype": "uint8", "resize": "stretch"},
        "outputs": {"names": {"scores": SCORES, "map": MAP}, "activation": "none"},
        "labels": network.manifest.labels,
        "good_label": network.manifest.good_label,
        "decision": {"recipe_id": "elpv-stacked", "revision": 1, "threshold": 0.5},
        "training": {
            "provenance": "models/training/elpv/stack.py: elpv-cells (fine-tuned EfficientNet-Lite0, static int8) and"
            " elpv-good-only (PaDiM, a map for each product), weighed by a logistic regression",
            "data": "ELPV (package elpv-dataset): both models from training cells, the weights from validation cells",
            "split": SPLIT,
            "licence": LICENCE,
        },
        "metrics": {},
    }  # fmt: skip


if __name__ == "__main__":
    main()
