"""Converter of a framework that every environment of the tests has: the reference evaluator of ONNX.

The name of the source states a fault that the converter shows.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator


class _Refusal(Exception):
    pass


def convert(job: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """Copy the ONNX file of the source, and run it with the reference evaluator."""
    sys.stdout.write("a framework that is talkative\n")
    fault = Path(job["source"]).stem
    if fault == "slow":
        time.sleep(60)
    elif fault == "refused":
        raise _Refusal("it has two heads")
    elif fault == "broken":
        raise RuntimeError("line one\nline two")
    elif fault == "crash":
        sys.stderr.write("Segmentation fault\n")
        os._exit(139)
    elif fault == "online":
        socket.create_connection(("127.0.0.1", 9), timeout=5)
    shutil.copy(job["source"], job["onnx"])
    model = onnx.load(job["source"])
    evaluator = ReferenceEvaluator(model)
    names = [output.name for output in model.graph.output]

    def run(batch: Any) -> dict[str, Any]:
        found = dict(zip(names, evaluator.run(None, {"image": batch}), strict=True))
        return {name: value + 0.01 for name, value in found.items()} if fault == "other" else found

    shape = [axis.dim_value or None for axis in model.graph.input[0].type.tensor_type.shape.dim]
    outputs = {name: list(value.shape) for name, value in run(np.zeros([1, *shape[1:]], np.float32)).items()}
    facts = {"input": {"name": "image", "dtype": "float32", "shape": shape}, "outputs": outputs}
    return {**facts, "versions": {"onnx": onnx.__version__}}, run, None
