"""Converter of Anomalib: a model that ``Engine.export`` wrote as ``model.pt``, a pickle, which loading runs.

Anomalib normalises pixels and scores within the graph. The file is for one image, with all weights inside: the default
has free axes, or for PatchCore a fixed batch of two.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np


class _Refusal(Exception):
    """Model that cannot be converted; the text is for the user."""


def convert(job: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """Write the ONNX file of the job; return its facts, and the functions that run the model and read an image."""
    import anomalib
    import onnx
    import torch

    torch.set_grad_enabled(False)
    # The user stated that the file is theirs.
    loaded = torch.load(job["source"], map_location="cpu", weights_only=False)
    model: Any = loaded.get("model") if isinstance(loaded, dict) else None
    if not hasattr(model, "to_onnx"):
        raise _Refusal(
            "it is no exported model: write one with Engine().export(model=..., export_type=ExportType.TORCH, "
            "ckpt_path=...), and import its model.pt"
        )
    model = model.eval()
    size_hw = (job["height"], job["width"]) if job["width"] else model.input_size
    if size_hw is None:
        raise _Refusal("the model does not state the size of its images: state --size WIDTHxHEIGHT")
    shape = [1, 3, int(size_hw[0]), int(size_hw[1])]

    def run(batch: Any) -> dict[str, Any]:
        found = model(torch.from_numpy(np.ascontiguousarray(batch)))._asdict()
        return {name: value.numpy() for name, value in found.items() if value is not None}

    outputs = run(np.zeros(shape, np.float32))
    written = model.to_onnx(job["work"], input_size=tuple(shape[2:]), dynamic_axes={}, external_data=False)
    Path(written).replace(job["onnx"])
    graph = onnx.load(job["onnx"]).graph
    facts = {
        "input": {
            "name": graph.input[0].name, "dtype": "float32",
            "shape": [axis.dim_value or None for axis in graph.input[0].type.tensor_type.shape.dim],
        },
        "outputs": {name: list(value.shape) for name, value in outputs.items()},
        "versions": {each.__name__: each.__version__ for each in (anomalib, torch, onnx)},
    }  # fmt: skip
    read: Any = runpy.run_path(str(Path(__file__).with_name("convert_torch.py")))["_read_image"]
    return facts, run, read
