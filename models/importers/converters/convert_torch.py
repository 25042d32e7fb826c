"""Converter of PyTorch: modules with weights, exported programs (``.pt2``) and TorchScript.

Modules and programs go by ``torch.onnx.export`` with dynamo. TorchScript cannot: it goes by the older exporter. The
file is for one image, with all weights inside.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

_TORCHSCRIPT_OPSET = 17


class _Refusal(Exception):
    """Model that cannot be converted; the text is for the user."""


def convert(job: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """Write the ONNX file of the job; return its facts, and the functions that run the model and read an image."""
    import onnx
    import torch
    import torchvision

    torch.set_grad_enabled(False)
    if not job["trust"]:
        _load_tensors_alone()
    example, model, program = None, None, None
    if job["kind"] == "torch_program":
        program = torch.export.load(job["source"])
        example = _example_of(program)
        # A program has the mode that it was exported in.
        model = program.module()
    elif job["kind"] == "torchscript":
        model = torch.jit.load(job["source"], map_location="cpu").eval()
    else:
        model = _module(job).eval()
    if example is None:
        example = _example(job)
    shape, dtype = list(example.shape), str(example.dtype).removeprefix("torch.")

    def run(batch: Any) -> dict[str, Any]:
        found = _outputs(model(torch.from_numpy(np.ascontiguousarray(batch))))
        return {name: value.numpy() for name, value in found.items()}

    if shape[0] != 1:
        raise _Refusal(
            f"the program takes batches of {shape[0]}, and the line inspects one image at a time: export it with an "
            'example of one image, or with dynamic_shapes=({0: torch.export.Dim("n")},)'
        )
    outputs = run(np.zeros(shape, dtype))
    names: dict[str, Any] = {"input_names": ["image"], "output_names": list(outputs)}
    if job["kind"] == "torchscript":
        torch.onnx.export(model, (example,), job["onnx"], dynamo=False, opset_version=_TORCHSCRIPT_OPSET, **names)
    else:
        # Without external_data=False the weights lie in a second file.
        torch.onnx.export(
            program or model, () if program else (example,), job["onnx"], dynamo=True, external_data=False, **names
        )
    input_shape = list(onnx.load(job["onnx"]).graph.input[0].type.tensor_type.shape.dim)
    shape[0] = input_shape[0].dim_value or None
    facts = {
        "input": {"name": "image", "dtype": dtype, "shape": shape},
        "outputs": {name: list(value.shape) for name, value in outputs.items()},
        "versions": {each.__name__: each.__version__ for each in (torch, torchvision, onnx)},
    }
    return facts, run, _read_image


def _load_tensors_alone() -> None:
    """Make ``torch.load`` refuse pickles that run code: ``torch.export.load`` allows them where they are in a file."""
    import torch

    load = torch.load

    def load_tensors(*arguments: Any, **options: Any) -> Any:
        return load(*arguments, **{**options, "weights_only": True})

    torch.load = load_tensors


def _module(job: dict[str, Any]) -> Any:
    """Build the module by the function that the user names, and load the weights as data."""
    import torch

    name, _, function = job["entry"].partition(":")
    try:
        build: Callable[[], Any] = getattr(importlib.import_module(name), function)
    except (ImportError, AttributeError) as error:
        raise _Refusal(
            f"--entry {job['entry']}: {error}; it is imported from the current directory, in an environment with torch "
            "and torchvision; --python names an interpreter of yours with more"
        ) from error
    module = build()
    if not isinstance(module, torch.nn.Module):
        raise _Refusal(f"--entry {job['entry']}: it returns {type(module).__name__}, not a torch.nn.Module")
    state = torch.load(job["source"], map_location="cpu", weights_only=True)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]  # a checkpoint
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise _Refusal(f"--entry {job['entry']}: the weights are those of another module: {reason}") from error
    return module


def _example_of(program: Any) -> Any:
    """Return zeros of the shape that a program takes; its free axes are those of its example, but for the batch."""
    import torch

    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    if len(inputs) != 1:
        raise _Refusal(
            f"the program takes {len(inputs)} tensors, a package has one, the image: make the others constants"
        )
    value = inputs[0].meta["val"]
    shape = [axis if isinstance(axis, int) else int(axis.node.hint or 1) for axis in value.shape]
    if value.shape and not isinstance(value.shape[0], int):
        shape[0] = 1
    return torch.zeros(shape, dtype=value.dtype)


def _example(job: dict[str, Any]) -> Any:
    import torch

    missing = [] if job["width"] else ["--size WIDTHxHEIGHT"]
    missing += [] if job["channels"] else ["--colour grey, rgb or bgr"]
    if missing:
        raise _Refusal(f"a PyTorch module does not say what it takes; state: {', '.join(missing)}")
    return torch.zeros(1, job["channels"], job["height"], job["width"])


def _outputs(found: Any) -> dict[str, Any]:
    """Return the tensors of a result by name; a result may be a tensor, or a tuple or dictionary of tensors."""
    if isinstance(found, dict):
        return {str(name): value for name, value in found.items()}
    values = list(found) if isinstance(found, tuple | list) else [found]
    return {f"output_{number}": value for number, value in enumerate(values)}


def _read_image(path: str, spec: dict[str, Any]) -> Any:
    """Return the batch of an image, decoded and resized by torchvision with its default, antialiased."""
    import torch
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms.v2.functional import resize

    grey = spec["colour"] == "grey"
    pixels = decode_image(path, mode=ImageReadMode.GRAY if grey else ImageReadMode.RGB)
    image = resize(pixels, [spec["height"], spec["width"]], antialias=True)
    if spec["colour"] == "bgr":
        image = image.flip(0)
    if spec["dtype"] == "uint8":
        return image[None].numpy()
    mean, std = (torch.tensor(spec[name])[:, None, None] for name in ("mean", "std"))
    batch = ((image.to(torch.float32) * spec["scale"] - mean) / std)[None].numpy()
    return batch if spec["layout"] == "NCHW" else batch.transpose(0, 2, 3, 1)
