"""Model package: a folder with ``manifest.yaml`` and the ONNX file that it describes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.agreement import differences
from models.aligner import Aligner, AlignError
from models.errors import ImageError, ModelPackageError
from models.images import decode
from models.manifest import Manifest
from models.manifest_file import MANIFEST_NAME, ManifestFile
from models.onnx_bytes import ExternalData, NotOnnx, check_onnx
from models.onnx_graph import read_model
from models.package_checks import check_input, check_outputs, refuse
from models.preprocess import Geometry, Tensor
from models.protobuf import Malformed
from models.reference import Reference
from models.runtime import ORT_ERRORS, make_session, ort, runtime_error_line
from models.tasks import TASKS, Outputs
from models.tasks.finding import WrongShape
from models.trial import TrialFailed, TrialJob, TrialLimits, try_out
from models.warm_up import (
    constant_differences,
    map_differences,
    pictures,
    repeat_differences,
    row_differences,
    score_differences,
)
from schemas.plain_files import real_path

#: Protobuf's own limit.
_MAX_MODEL_BYTES = 2**31 - 1
#: Picture of the warm-up that is run twice: in a black one, a dropped pixel is black too.
_NOISE = 1
_RUNS_WITH = (
    "it must run on one image with the CPU provider alone; see that it does with onnxruntime before it is packed"
)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Loaded model. Thread-safe.

    ``sha256`` identifies the ONNX file. ``recipe_revision`` changes with all other settings that change decisions.
    """

    manifest: Manifest
    session: ort.InferenceSession
    path: Path
    recipe_revision: str
    stage: str = "champion"
    reference: Reference | None = None
    aligner: Aligner | None = None

    @property
    def name(self) -> str:
        """Name of the model, from the manifest."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Version of the model, from the manifest."""
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
        """Identity of all that determines the outputs for an image: weights, preprocessing, names of the outputs."""
        manifest = self.manifest
        return manifest.sha256, manifest.input.model_dump_json(), repr(sorted(manifest.outputs.names.items()))

    def run(self, tensor: Tensor) -> Outputs:
        """Run the network on a tensor of ``manifest.input.shape``, and return the outputs by role."""
        roles = self.manifest.outputs.names
        values = self.session.run(list(roles.values()), {self.manifest.input.name: tensor})
        return dict(zip(roles, values, strict=True))


def default_model_path() -> Path:
    """Return the path of the shipped package, for defects of solar cells (licence of the weights: see its manifest)."""
    return Path(__file__).parent / "zoo" / "elpv_cells"


def load_model(path: Path, *, threads: int = 1, stage: str = "champion") -> Model:
    """Load, check and warm up a model package.

    Parameters
    ----------
    path
        Folder of the package, or the ``manifest.yaml`` in it.
    threads
        Number of threads within one inference. The worker runs several inferences side by side with one thread each.
    stage
        ``champion`` or ``challenger``.

    Raises
    ------
    ModelPackageError
        If anything in the package contradicts its manifest; the message names the line of the manifest.
    """
    path = Path(path)
    manifest_path = path if path.name == MANIFEST_NAME else path / MANIFEST_NAME
    source = ManifestFile.read(manifest_path)
    manifest = source.manifest
    # The session gets the same bytes that were hashed, because the file may change afterwards.
    data = _read_verified(manifest_path.parent, source, manifest.file, manifest.sha256, ("file",), ("sha256",))
    try:
        check_onnx(data)
        graph = read_model(data)
    except (NotOnnx, ExternalData, Malformed) as error:
        raise source.error(("file",), f"{manifest.file} {error}") from error
    refuse(differences(graph, manifest), source)
    tensors = list(pictures(manifest.input))
    log_lines = _try_out(manifest_path.parent, source, tensors, threads)
    try:
        session = make_session(data, threads)
    except ORT_ERRORS as error:
        raise source.error(("file",), f"{manifest.file} does not load: {runtime_error_line(error)}") from error
    check_input(session, source)
    check_outputs(session, source)
    model = Model(
        manifest,
        session,
        manifest_path.parent,
        manifest.recipe_revision,
        stage,
        _read_reference(manifest_path, source),
        _read_aligner(manifest_path, source),
    )
    _warm_up(model, tensors, source, log_lines)
    return model


def _try_out(folder: Path, source: ManifestFile, tensors: Sequence[Tensor], threads: int) -> str:
    """Load and run the model in a child process first. Return the runtime's message if it cannot run the model."""
    manifest = source.manifest
    outputs = tuple(manifest.outputs.names.values())
    job = TrialJob(str(real_path(folder / manifest.file)), manifest.sha256, threads, manifest.input.name, outputs)
    try:
        return try_out(job, tensors, TrialLimits.from_env())
    except TrialFailed as error:
        raise source.error(("file",), f"{manifest.file} {error}") from error


def load_reference(path: Path) -> tuple[str, Reference | None]:
    """Return the sha256 of a package's model, and its training reference, without loading the model.

    A package without a reference returns None for it.

    Raises
    ------
    ModelPackageError
        If the manifest or the reference is not valid.
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
        raise source.error(at, f"{wanted.file}: {error}; make it again with `inspection model reference`") from error


def _read_aligner(manifest_path: Path, source: ManifestFile) -> Aligner | None:
    wanted = source.manifest.input.align
    if wanted is None:
        return None
    at = ("input", "align", "file")
    data = _read_verified(manifest_path.parent, source, wanted.file, wanted.sha256, at, ("input", "align", "sha256"))
    try:
        fills = wanted.fill == "picture"
        colour = fills and source.manifest.input.colour != "grey"
        return Aligner(decode(data, colour=colour).pixels, wanted.reach, fills=fills)
    except (ImageError, AlignError) as error:
        raise source.error(at, f"{wanted.file}: {error}; train the model again, or leave align out") from error


def _read_verified(
    folder: Path, source: ManifestFile, file: str, sha256: str, file_at: tuple[str, ...], sha256_at: tuple[str, ...]
) -> bytes:
    try:
        target = real_path(folder / file, strict=True)
        # Kubernetes mounts files as links within the package. A link that leaves the package is not followed.
        if not target.is_relative_to(real_path(folder)):
            raise source.error(file_at, f"{file} is a link that leaves the package: copy the file here")
        if not target.is_file():
            raise source.error(file_at, f"{file} is not a regular file: put the model here")
        if target.stat().st_size > _MAX_MODEL_BYTES:
            raise source.error(file_at, f"{file} is over 2 GiB: quantise the model or make it smaller")
        data = target.read_bytes()
    except OSError as error:
        raise source.error(file_at, f"{file}: {error.strerror or error}; it belongs beside the manifest") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise source.error(
            sha256_at,
            f"{file} has {digest}, the manifest says {sha256}: copy the file again, or write its sha256 here if it is "
            "the one that you mean",
        )
    return data


def _warm_up(model: Model, tensors: Sequence[Tensor], source: ManifestFile, log_lines: str) -> None:
    spec = model.manifest.input
    geometry = Geometry(spec.width, spec.height, 1.0, 1.0)
    outputs, scores = [], []
    try:
        if log_lines:
            raise source.error(("file",), f"{model.manifest.file} does not run: {log_lines}; {_RUNS_WITH}")
        for tensor in tensors:
            outputs.append(model.run(tensor))
            scores.append(TASKS[model.manifest.task](outputs[-1], model.manifest, geometry).score)
        again = model.run(tensors[_NOISE])
    except WrongShape as error:
        raise source.error(("outputs", "names", error.role), f"the output {error}: {error.cure}") from error
    except ORT_ERRORS as error:
        raise source.error(
            ("file",), f"{model.manifest.file} does not run: {runtime_error_line(error)}; {_RUNS_WITH}"
        ) from error
    refuse(repeat_differences(outputs[_NOISE], again), source)
    refuse(row_differences(outputs), source)
    refuse(score_differences(outputs, model.manifest), source)
    refuse(map_differences(outputs, model.manifest), source)
    refuse(constant_differences(outputs, scores, model.manifest), source)


__all__ = ["Model", "ModelPackageError", "default_model_path", "load_model", "load_reference"]
