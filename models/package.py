"""Load a model package: verified, checked against its manifest, warmed up."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx.external_data_helper import uses_external_data

from models.errors import ModelPackageError
from models.manifest import MANIFEST_NAME, Manifest, line_of, read_manifest

_MAX_MODEL_BYTES = 1024 * 1024 * 1024
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
_WARM_UP_RUNS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded model: its manifest and a session. Safe to use from several threads at once.

    Parameters
    ----------
    manifest
        What the package says.
    session
        ONNX Runtime session on the verified bytes.
    recipe_revision
        Changes with everything that turns an image into a decision except the model file itself.
    stage
        ``champion`` decides, ``challenger`` only shadows.
    """

    manifest: Manifest
    session: ort.InferenceSession
    recipe_revision: str
    stage: str = "champion"

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Version of the model."""
        return self.manifest.version

    @property
    def sha256(self) -> str:
        """Of the ONNX file, lower-case hex."""
        return self.manifest.sha256

    @property
    def recipe_id(self) -> str:
        """Id of the recipe."""
        return self.manifest.decision.recipe_id

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Outputs by role (``scores``, ``map``, ``boxes``) for an input tensor."""
        roles = _roles(self.manifest)
        values = self.session.run(list(roles.values()), {self.manifest.input.name: tensor})
        return dict(zip(roles, values, strict=True))


def default_model_path() -> Path:
    """Directory of the model that ships: defective or functional solar cells."""
    return Path(__file__).parent / "elpv_cells"


def load_model(directory: Path, *, threads: int = 1) -> Model:
    """Load a package.

    The sha256 is checked first, and the session is made of the very bytes that were checked. Data outside the file is
    refused, so the hash covers all of the model.

    Parameters
    ----------
    directory
        With ``manifest.yaml`` and the ONNX file that it names.
    threads
        Threads of one inference. Workers run several frames at once instead, so 1.

    Raises
    ------
    ModelPackageError
        In one line that names the manifest's line.
    """
    manifest, node = read_manifest(directory)

    def wrong(reason: str, *keys: str | int) -> ModelPackageError:
        return ModelPackageError(
            f"{directory / MANIFEST_NAME}:{line_of(node, keys)}: {'.'.join(map(str, keys))}: {reason}"
        )

    path = directory / manifest.file
    try:
        if path.is_symlink():
            raise wrong(f"{path.name} is a link; a package holds its own file", "file")
        if path.stat().st_size > _MAX_MODEL_BYTES:
            raise wrong(f"{path.name} is larger than {_MAX_MODEL_BYTES} bytes", "file")
        data = path.read_bytes()
    except OSError as error:
        raise wrong(f"{path.name}: {error.strerror or error}", "file") from error
    found = hashlib.sha256(data).hexdigest()
    if found != manifest.sha256:
        raise wrong(f"{path.name} has sha256 {found}: altered, or not the file this manifest is for", "sha256")
    _check_onnx(data, path, wrong)
    session = _session(data, path, threads, wrong)
    _check_tensors(manifest, session, wrong)
    model = Model(manifest, session, recipe_revision(manifest))
    spec = manifest.input
    shape = (
        (spec.channels, spec.height, spec.width) if spec.layout == "NCHW" else (spec.height, spec.width, spec.channels)
    )
    try:
        for _ in range(_WARM_UP_RUNS):
            model.run(np.zeros((1, *shape), spec.dtype))
    except Exception as error:  # ONNX Runtime's own errors have no common base but Exception
        raise wrong(f"{path.name} does not run: {_first_line(error)}", "file") from error
    return model


def recipe_revision(manifest: Manifest) -> str:
    """The revision that the manifest states, and a hash of all that makes the decision besides the model file."""
    parts = manifest.model_dump(
        mode="json", include={"task", "input", "outputs", "labels", "defect_labels", "decision", "anomaly", "detection"}
    )
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{manifest.decision.revision}-{digest[:8]}"


def _roles(manifest: Manifest) -> dict[str, str]:
    names = {"scores": manifest.outputs.scores, "map": manifest.outputs.map, "boxes": manifest.outputs.boxes}
    return {role: name for role, name in names.items() if name is not None}


def _check_onnx(data: bytes, path: Path, wrong: Any) -> None:
    try:
        proto = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise wrong(f"{path.name} is not an ONNX file", "file") from error
    if not proto.graph.node:
        raise wrong(f"{path.name} is not an ONNX file, or has an empty graph", "file")
    if any(uses_external_data(tensor) for tensor in _tensors(proto.graph)):
        raise wrong(f"{path.name} keeps data in other files, which the sha256 would not cover", "file")


def _tensors(graph: onnx.GraphProto) -> Any:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _tensors(inner)


def _session(data: bytes, path: Path, threads: int, wrong: Any) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Spinning threads take the core that another frame needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors have no common base but Exception
        raise wrong(f"{path.name} cannot be loaded: {_first_line(error)}", "file") from error


def _check_tensors(manifest: Manifest, session: ort.InferenceSession, wrong: Any) -> None:
    spec = manifest.input
    inputs = {tensor.name: tensor for tensor in session.get_inputs()}
    if set(inputs) != {spec.name}:
        raise wrong(f"the model's inputs are {', '.join(sorted(inputs))}, not {spec.name}", "input", "name")
    tensor = inputs[spec.name]
    if _DTYPES.get(tensor.type) != spec.dtype:
        raise wrong(f"the model takes {tensor.type}, not {spec.dtype}", "input", "dtype")
    axes = (
        ("batch", "channels", "height", "width") if spec.layout == "NCHW" else ("batch", "height", "width", "channels")
    )
    if len(tensor.shape) != len(axes):
        raise wrong(
            f"the model takes {len(tensor.shape)} dimensions {tensor.shape}, not {spec.layout}", "input", "layout"
        )
    wanted = {"batch": 1, "channels": spec.channels, "height": spec.height, "width": spec.width}
    keys = {"batch": "layout", "channels": "colour", "height": "height", "width": "width"}
    for axis, size in zip(axes, tensor.shape, strict=True):
        if isinstance(size, int) and size != wanted[axis]:
            raise wrong(f"the model takes {axis} {size}, not {wanted[axis]}", "input", keys[axis])
    outputs = {output.name for output in session.get_outputs()}
    for role, name in _roles(manifest).items():
        if name not in outputs:
            raise wrong(f"the model has no output {name}: it has {', '.join(sorted(outputs))}", "outputs", role)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


__all__ = ["Model", "default_model_path", "load_model", "recipe_revision"]
