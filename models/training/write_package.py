"""Package of a trained anomaly model: graph, manifest and reference."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import onnx
import yaml

from models.align_spec import ALIGN_NAME
from models.image_folder import read_image_file
from models.manifest_file import MANIFEST_NAME
from models.measure_reference import MIN_IMAGES, measure_reference, write_reference
from models.package import Model, load_model
from models.training.manifest_of_training import manifest_of
from models.training.package_folder import MODEL_NAME, REPORT_NAME, new_package
from models.training.read_images import OnTrainingProgress
from models.training.report import write_report
from models.training.result import TrainingResult
from models.training.train import TrainingOptions
from schemas.plain_files import real_path

#: Images whose signals become the reference.
_REFERENCE_IMAGES = 300


def write_package(
    result: TrainingResult,
    out: Path,
    options: TrainingOptions,
    on_progress: OnTrainingProgress | None = None,
    *,
    overwrite: bool = False,
) -> Model:
    """Write the package as a whole, see `models.training.package_folder`, and return it loaded.

    Parameters
    ----------
    overwrite
        Replace a package that is there.

    Raises
    ------
    OSError
        If the folder cannot be written.
    SettingsError
        If the folder exists, or is no package that may be replaced.
    ModelPackageError
        If the package does not load.
    """
    report = on_progress or (lambda stage, done, total: None)
    with new_package(out, overwrite=overwrite) as folder:
        model = _write_files(result, folder, real_path(out).name, options, report)
    return dataclasses.replace(model, path=out)


def _write_files(
    result: TrainingResult, folder: Path, name: str, options: TrainingOptions, report: OnTrainingProgress
) -> Model:
    graph = result.best.graph(None if result.learned is None else result.learned.head)
    onnx.checker.check_model(graph, full_check=True)
    data = graph.SerializeToString()
    (folder / MODEL_NAME).write_bytes(data)
    if (alignment := result.best.extractor.alignment) is not None:
        (folder / ALIGN_NAME).write_bytes(alignment.png)
    text = yaml.safe_dump(
        manifest_of(result, options, name, hashlib.sha256(data).hexdigest()),
        sort_keys=False, allow_unicode=True, width=110,
    )  # fmt: skip
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    model = load_model(folder)
    report("writing the report", 0, 0)
    write_report(folder / REPORT_NAME, result, options, model)
    if len(result.paths) < MIN_IMAGES:
        return model
    step = max(1, len(result.paths) // _REFERENCE_IMAGES)
    chosen = result.paths[::step]

    def images() -> Any:
        for done, path in enumerate(chosen):
            report("measuring the reference", done, len(chosen))
            yield "", read_image_file(path)

    write_reference(folder, measure_reference(model, images()))
    report("measuring the reference", len(chosen), len(chosen))
    return load_model(folder)
