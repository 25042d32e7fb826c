"""Import of one model: from a file or folder of another framework to a checked package."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from numpy.typing import NDArray

from models.draft import GOOD_LABELS, draft_manifest
from models.draft_answers import DraftAnswers
from models.errors import ImageError, ImportRefused, ModelPackageError
from models.frame_pixels import PreparedTile, frame_pixels
from models.image_folder import list_images, read_image_file
from models.images import image_header
from models.importers.converter import Converter, ModelFacts, script_of
from models.importers.parity import Parity, check_parity
from models.importers.sources import ModelSource
from models.input_text import image_error_text
from models.manifest_file import MANIFEST_NAME
from models.package import Model, load_model
from models.training.package_folder import MODEL_NAME, check_place, new_package
from schemas.plain_files import real_path

if TYPE_CHECKING:
    from models.importers.classifier import ClassifierFile

OnStage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Imported package, its parity with the framework, the framework's versions, and notes of the draft."""

    model: Model
    parity: Parity
    versions: dict[str, str]
    notes: tuple[str, ...]


def import_model(
    source: ModelSource,
    images: Path,
    out: Path,
    answers: Mapping[str, str],
    *,
    python: Path,
    count: int = 20,
    time_limit_s: float = 600.0,
    trust: bool = False,
    overwrite: bool = False,
    on_stage: OnStage = lambda stage: None,
) -> ImportResult:
    """Convert a model, draft its manifest, check it against its framework, and write the package.

    Parameters
    ----------
    images
        Folder of images for the check.
    answers
        Facts that the file does not state, by the name of their option, see `models.draft_answers`.
    out
        Folder of the package; it appears only if everything has passed.
    python
        Interpreter of the framework's environment.
    count
        Most images for the check, spread over the folder.
    time_limit_s
        Time for the framework.
    trust
        True if the user states that the file is theirs: it may run code.
    overwrite
        Replace a package that is there.

    Raises
    ------
    ImportRefused
        If the model cannot become a package; the message states the remedy.
    ModelPackageError
        If the package does not load.
    OSError
        If the folder cannot be written.
    """
    _check(DraftAnswers(answers))
    paths = choose_images(images, count)
    check_place(out, overwrite=overwrite)
    with new_package(out, overwrite=overwrite) as package, tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        with _converter(source, python, work, time_limit_s) as converter:
            on_stage("converting the model")
            facts = converter.convert(_job(source, package / MODEL_NAME, work, answers, trust))
            if facts.input_shape[0] not in (None, 1):
                raise ImportRefused(
                    f"{source.path}: it takes batches of {facts.input_shape[0]}, and the line inspects one image at a "
                    "time: export it with a free first axis, or for one image"
                )
            known = {"provenance": _provenance(source, facts), **source.known, **answers}
            if source.embedding is not None:
                from models.importers.classifier import join_embedding

                joined = join_embedding(package / MODEL_NAME, source.embedding, answers.get("colour"))
                known = {**joined, **known}
            draft = draft_manifest((package / MODEL_NAME).read_bytes(), real_path(out).name, known)
            if draft.open:
                lines = "\n".join(question.line for question in draft.open)
                raise ImportRefused(f"{source.path}: it does not state all facts; add these options:\n{lines}")
            manifest = dict(draft.manifest)
            _write_manifest(package, manifest)
            model = _load(package, out)
            prepared = _prepare(paths, model)
            paths = paths[: len(prepared)]
            on_stage("running the framework")
            spec = manifest["input"] | {key: manifest["input"].get(key) or value for key, value in _NEUTRAL.items()}
            framework, own = converter.run(
                _framework_inputs(source, model, [tile for tiles in prepared for tile in tiles]),
                paths if _is_read_alike(paths, spec) else [],
                spec,
            )
        on_stage("comparing")
        in_order = iter(framework)
        parity = check_parity(model, paths, prepared, [list(islice(in_order, len(each))) for each in prepared], own)
        manifest["metrics"] = {"parity": _figures(parity, facts)}
        _write_manifest(package, manifest)
    return ImportResult(load_model(out), parity, dict(facts.versions), draft.notes)


_NEUTRAL: dict[str, Any] = {"scale": 1.0, "mean": [0.0], "std": [1.0]}
#: Tensors of the check that are in memory at the same time, about.
_MAX_TENSOR_BYTES = 512 * 1024**2
#: Files that the frameworks decode themselves.
_COMMON = frozenset({".png", ".jpg", ".jpeg", ".bmp"})


def choose_images(folder: Path, count: int) -> list[Path]:
    """Return images spread over a folder; one of them is not square if the folder has one.

    Raises
    ------
    ImportRefused
        If the folder has no images, or one cannot be read.
    """
    try:
        found = list_images(folder).images
    except OSError as error:
        raise ImportRefused(f"--images {folder}: {error.strerror or error}") from error
    if not found:
        raise ImportRefused(
            f"--images {folder}: no images; name a folder of PNG, JPEG, BMP or TIFF files of real parts"
        )
    step = max(1, len(found) / count)
    chosen = [found[int(number * step)] for number in range(min(count, len(found)))]
    if all(_is_square(path) for path in chosen):
        other = next((path for path in found if not _is_square(path)), None)
        chosen[-1:] = [other] if other is not None else chosen[-1:]
    return chosen


def _is_square(path: Path) -> bool:
    try:
        header = image_header(read_image_file(path))
    except (ImageError, OSError) as error:
        raise ImportRefused(f"{path}: {error}; take it out and run this again") from error
    return header.width == header.height


def _converter(source: ModelSource, python: Path, work: Path, time_limit_s: float) -> Converter | ClassifierFile:
    if source.kind != "classifier_onnx":
        return Converter(python, script_of(source.framework), work, time_limit_s)
    from models.importers.classifier import ClassifierFile

    return ClassifierFile(source.path)


def _framework_inputs(source: ModelSource, model: Model, prepared: Sequence[PreparedTile]) -> list[NDArray[Any]]:
    """Return the tensors for the framework: those of the package, or their features."""
    tensors = [image.tensor for image in prepared]
    if source.embedding is None:
        return tensors
    from models.training.embedding import Embedder

    embedder = Embedder(source.embedding, "grey" if model.manifest.input.colour == "grey" else "rgb")
    return [embedder.features(tensor) for tensor in tensors]


def _prepare(paths: Sequence[Path], model: Model) -> list[list[PreparedTile]]:
    """Return the tiles of each image, of one at least, as long as they fit into memory."""
    found: list[list[PreparedTile]] = []
    size = 0
    for path in paths:
        try:
            with frame_pixels(read_image_file(path), model.manifest.input) as seen:
                found.append(list(seen.tiles(model.manifest.input)))
        except (ImageError, OSError) as error:
            text = image_error_text(error)
            cure = "take it out" if isinstance(error, OSError) or text == str(error) else "or take the image out"
            raise ImportRefused(f"{path}: {text}; {cure}, and run this again") from error
        size += sum(tile.tensor.nbytes for tile in found[-1])
        if size > _MAX_TENSOR_BYTES:
            break
    return found


def _is_read_alike(paths: Sequence[Path], spec: dict[str, Any]) -> bool:
    """Return True if the framework can decode and resize the files itself: the whole frame, and plain samples."""
    is_whole = not any(spec.get(name) for name in ("roi", "tiles", "bit_depth", "window", "bayer"))
    return is_whole and spec["resize"] == "stretch" and all(path.suffix.lower() in _COMMON for path in paths)


def _job(source: ModelSource, onnx: Path, work: Path, given: Mapping[str, str], trust: bool) -> dict[str, Any]:
    answers = DraftAnswers(given)
    width, height = answers.wh() or (None, None)
    colour = answers.get("colour")
    channels = None if colour is None else 1 if colour == "grey" else 3
    return {
        "source": str(real_path(source.path)), "kind": source.kind, "signature": source.signature,
        "onnx": str(real_path(onnx)), "work": str(work), "name": source.path.stem, "trust": trust,
        "width": width, "height": height, "channels": channels, "invert": _inversion(answers), "entry": source.entry,
        "path": [] if source.entry is None else [os.getcwd()], "features": _feature_count(source),
    }  # fmt: skip


def _feature_count(source: ModelSource) -> int | None:
    if source.embedding is None:
        return None
    from models.training.embedding import FEATURE_COUNT

    return FEATURE_COUNT


def _check(answers: DraftAnswers) -> None:
    """Read the answers before a framework starts; some are read again when the channels are known."""
    answers.wh()
    answers.labels()
    answers.outputs()
    answers.share("threshold", "")
    answers.numbers("map_range", 2)
    answers.numbers("min_area", 1)
    answers.label_thresholds()
    answers.region()
    answers.samples()


def _inversion(answers: DraftAnswers) -> str | None:
    """Return the activation behind the one score if that is the score of the good label; None if it is not.

    One number for two labels is the score of the second one, by the custom of all frameworks. A package wants the
    score of the label that is not good. An activation that is not stated is "".

    Examples
    --------
    >>> _inversion(DraftAnswers({"labels": "bad,good"})), _inversion(DraftAnswers({"labels": "good,bad"}))
    ('', None)
    """
    labels = answers.labels() or []
    good = answers.get("good_label") or next((label for label in labels if label.lower() in GOOD_LABELS), None)
    return (answers.get("activation") or "") if len(labels) == 2 and good == labels[1] else None


def _load(package: Path, out: Path) -> Model:
    """Load a package that is not in its place yet; messages name its place."""
    try:
        return load_model(package)
    except ModelPackageError as error:
        raise ModelPackageError(str(error).replace(str(package), str(out))) from error


def _provenance(source: ModelSource, facts: ModelFacts) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return f"{source.description} {source.path.name}, imported with {versions}"


def _figures(parity: Parity, facts: ModelFacts) -> dict[str, Any]:
    found = {
        name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in asdict(parity).items()
    }
    return {name: value for name, value in found.items() if value is not None} | {"framework": dict(facts.versions)}


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    text = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=110)
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
