"""A model package: a folder with ``manifest.yaml`` and the ONNX file it describes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from models.errors import ModelPackageError
from models.manifest import Manifest
from models.manifest_file import MANIFEST_NAME, ManifestFile
from models.onnx_bytes import ExternalData, NotOnnx, check_onnx
from models.preprocess import Geometry, Tensor
from models.reference import Reference
from models.runtime import ORT_ERRORS, explain, make_session
from models.tasks import TASKS, Outputs
from models.tasks.finding import WrongShape

#: Protobuf's own limit.
_MAX_MODEL_BYTES = 2**31 - 1
_ORT_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded model, safe to use from several threads at once.

    ``sha256`` is that of the ONNX file; ``recipe_revision`` changes with all else that changes decisions.
    """

    manifest: Manifest
    session: ort.InferenceSession
    path: Path
    recipe_revision: str
    stage: str = "champion"
    reference: Reference | None = None

    @property
    def name(self) -> str:
        """Name, from the manifest."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Version, from the manifest."""
        return self.manifest.version

    @property
    def sha256(self) -> str:
        """Digest of the ONNX file, checked at load."""
        return self.manifest.sha256

    @property
    def recipe_id(self) -> str:
        """Id of the recipe, from the manifest."""
        return self.manifest.decision.recipe_id

    @property
    def network(self) -> tuple[str, str, str]:
        """What decides the outputs for an image: weights, preprocessing, which outputs are asked for."""
        manifest = self.manifest
        return manifest.sha256, manifest.input.model_dump_json(), repr(sorted(manifest.outputs.names.items()))

    def run(self, tensor: Tensor) -> Outputs:
        """Outputs by role, for a tensor of ``manifest.input.shape``."""
        roles = self.manifest.outputs.names
        values = self.session.run(list(roles.values()), {self.manifest.input.name: tensor})
        return dict(zip(roles, values, strict=True))


def default_model_path() -> Path:
    """The package that ships: defects of solar cells (see its manifest for the licence of the weights)."""
    return Path(__file__).parent / "elpv_cells"


def load_model(path: Path, *, threads: int = 1, stage: str = "champion") -> Model:
    """Load, check and warm up a model package.

    Parameters
    ----------
    path
        The folder, or the ``manifest.yaml`` in it.
    threads
        Threads within one inference. The worker runs several inferences side by side with one thread each.
    stage
        ``champion`` or ``challenger``.

    Raises
    ------
    ModelPackageError
        If anything in the package is not as its manifest says; the message names the manifest's line.
    """
    path = Path(path)
    manifest_path = path if path.name == MANIFEST_NAME else path / MANIFEST_NAME
    source = ManifestFile.read(manifest_path)
    manifest = source.manifest
    # The session gets the very bytes that were hashed: the file may change afterwards.
    data = _read_verified(manifest_path.parent, source, manifest.file, manifest.sha256, ("file",), ("sha256",))
    try:
        check_onnx(data)
        session = make_session(data, threads)
    except (NotOnnx, ExternalData) as error:
        raise source.error(("file",), f"{manifest.file} {error}") from error
    except ORT_ERRORS as error:
        raise source.error(("file",), f"{manifest.file} does not load: {explain(error)}") from error
    _check_input(session, source)
    _check_outputs(session, source)
    model = Model(
        manifest, session, manifest_path.parent, manifest.recipe_revision, stage, _read_reference(manifest_path, source)
    )
    _warm_up(model, source)
    return model


def load_reference(path: Path) -> tuple[str, Reference | None]:
    """The sha256 of a package's model and its training reference, None if it has none; the model is not loaded.

    Raises
    ------
    ModelPackageError
        If the manifest or the reference is not as it should be.
    """
    path = Path(path)
    manifest_path = path if path.name == MANIFEST_NAME else path / MANIFEST_NAME
    source = ManifestFile.read(manifest_path)
    return source.manifest.sha256, _read_reference(manifest_path, source)


def _read_reference(manifest_path: Path, source: ManifestFile) -> Reference | None:
    wanted = source.manifest.reference
    if wanted is None:
        return None
    at = ("reference", "file")
    data = _read_verified(manifest_path.parent, source, wanted.file, wanted.sha256, at, ("reference", "sha256"))
    try:
        return Reference.loads(data)
    except ValueError as error:
        raise source.error(at, f"{wanted.file}: {error}") from error


def _read_verified(
    folder: Path, source: ManifestFile, file: str, sha256: str, file_at: tuple[str, ...], sha256_at: tuple[str, ...]
) -> bytes:
    try:
        target = (folder / file).resolve(strict=True)
        # A link within the package is how Kubernetes mounts files; one that leaves it is not ours to follow.
        if not target.is_relative_to(folder.resolve()):
            raise source.error(file_at, f"{file} is a link that leaves the package")
        if not target.is_file():
            raise source.error(file_at, f"{file} is not a regular file")
        if target.stat().st_size > _MAX_MODEL_BYTES:
            raise source.error(file_at, f"{file} is over 2 GiB")
        data = target.read_bytes()
    except OSError as error:
        raise source.error(file_at, f"{file}: {error.strerror or error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise source.error(sha256_at, f"{file} has {digest}, the manifest says {sha256}")
    return data


def _check_input(session: ort.InferenceSession, source: ManifestFile) -> None:
    spec, inputs = source.manifest.input, session.get_inputs()
    if len(inputs) != 1 or inputs[0].name != spec.name:
        names = ", ".join(repr(i.name) for i in inputs)
        raise source.error(
            ("input", "name"), f"the graph's inputs are {names or 'none'}, the manifest says {spec.name!r}"
        )
    if inputs[0].type != _ORT_TYPES[spec.dtype]:
        raise source.error(("input", "dtype"), f"the graph takes {inputs[0].type}, the manifest says {spec.dtype}")
    shape = inputs[0].shape
    fits = len(shape) == 4 and all(not isinstance(n, int) or n == m for n, m in zip(shape, spec.shape, strict=True))
    if not fits:
        # Point at the number that differs, where it is one of the manifest's.
        names_by_axis = (None, None, "height", "width") if spec.layout == "NCHW" else (None, "height", "width", None)
        off = [
            name
            for name, n, m in zip(names_by_axis, shape, spec.shape, strict=False)
            if name and isinstance(n, int) and n != m
        ]
        where = ("input", off[0]) if len(shape) == 4 and len(off) == 1 else ("input",)
        raise source.error(where, f"the graph takes shape {shape}, the manifest describes {list(spec.shape)}")


def _check_outputs(session: ort.InferenceSession, source: ManifestFile) -> None:
    present = {output.name: output.type for output in session.get_outputs()}
    for role, name in source.manifest.outputs.names.items():
        where = ("outputs", "names", role)
        if name not in present:
            raise source.error(where, f"the graph has no output {name!r}; it has {', '.join(map(repr, present))}")
        if present[name] not in _NUMERIC:
            raise source.error(where, f"output {name!r} is {present[name]}, wanted numbers")


_NUMERIC = {f"tensor({kind})" for kind in ("float", "float16", "double", "int64", "int32", "uint8", "int8")}


def _warm_up(model: Model, source: ManifestFile) -> None:
    spec: Any = model.manifest.input
    try:
        outputs = model.run(np.zeros(spec.shape, spec.dtype))
        TASKS[model.manifest.task](outputs, model.manifest, Geometry(spec.width, spec.height, 1.0, 1.0))
    except WrongShape as error:
        raise source.error(("outputs", "names", error.role), f"the output {error}") from error
    except ORT_ERRORS as error:
        raise source.error(("file",), f"{model.manifest.file} does not run: {explain(error)}") from error


__all__ = ["Model", "ModelPackageError", "default_model_path", "load_model", "load_reference"]
