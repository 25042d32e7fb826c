"""Package of a trained anomaly model: graph, manifest and reference."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml

from models.manifest_file import MANIFEST_NAME
from models.measure_reference import MIN_IMAGES, measure_reference, write_reference
from models.package import Model, load_model
from models.training.anomaly_fit import PERCENTILE
from models.training.features import input_spec
from models.training.graphs import IMAGE, MAP, anomaly_graph
from models.training.package_folder import MODEL_NAME, new_package
from models.training.train import OnTrainingProgress, TrainingOptions, TrainingResult

#: Images whose signals become the reference.
_REFERENCE_IMAGES = 300
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


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
        model = _write_files(result, folder, out.resolve().name, options, report)
    return dataclasses.replace(model, path=out)


def _write_files(
    result: TrainingResult, folder: Path, name: str, options: TrainingOptions, report: OnTrainingProgress
) -> Model:
    best = result.best
    recipe, colour = best.fit.recipe, best.extractor.spec.colour
    assert colour != "bgr"
    graph = anomaly_graph(recipe, colour, best.fit.gaussians)
    onnx.checker.check_model(graph, full_check=True)
    data = graph.SerializeToString()
    (folder / MODEL_NAME).write_bytes(data)
    text = yaml.safe_dump(
        _manifest(result, options, name, hashlib.sha256(data).hexdigest()),
        sort_keys=False, allow_unicode=True, width=110,
    )  # fmt: skip
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    model = load_model(folder)
    if len(result.paths) < MIN_IMAGES:
        return model
    step = max(1, len(result.paths) // _REFERENCE_IMAGES)
    chosen = result.paths[::step]

    def images() -> Any:
        for done, path in enumerate(chosen):
            report("measuring the reference", done, len(chosen))
            yield "", path.read_bytes()

    write_reference(folder, measure_reference(model, images()))
    report("measuring the reference", len(chosen), len(chosen))
    return load_model(folder)


def _manifest(result: TrainingResult, options: TrainingOptions, name: str, sha256: str) -> dict[str, Any]:
    best = result.best
    recipe, limit = best.fit.recipe, best.fit.limit
    low = min(float(np.min(best.fit.scores)), 0.999 * limit)
    # The good image with the smallest score has the score 0, and the limit is 0.5.
    high = 2 * limit - low
    spec = input_spec(recipe, "grey" if best.extractor.spec.colour == "grey" else "rgb")
    name = _NOT_IN_NAMES.sub("-", name).strip("-.")[:100] or "my-model"
    sizes = {f"{result_.kind} {result_.size:.0%}": round(result_.found, 3) for result_ in best.synthetic}
    return {
        "manifest_version": 1,
        "name": name,
        "version": "1.0.0",
        "task": "anomaly_map",
        "file": MODEL_NAME,
        "sha256": sha256,
        "input": {
            "name": IMAGE, "width": spec.width, "height": spec.height, "colour": spec.colour, "layout": spec.layout,
            "dtype": spec.dtype, "resize": spec.resize,
        },
        "outputs": {"names": {"map": MAP}, "activation": "none"},
        "labels": ["anomaly"],
        "decision": {"recipe_id": name, "revision": 1, "threshold": 0.5},
        "anomaly": {"score_percentile": PERCENTILE, "low": round(low, 6), "high": round(high, 6)},
        "training": {
            "provenance": f"inspection train: PaDiM on EfficientNet-Lite0 (ImageNet weights), recipe {recipe.name}",
            "data": f"{len(result.paths)} images of good parts",
            "split": f"limit from images outside of their block ({result.block_kind}), {len(np.unique(result.blocks))}"
            " blocks",
            "licence": "That of the images; the ImageNet weights of the backbone are Apache-2.0",
        },
        "metrics": {
            "good_images": len(result.paths),
            "overkill_asked": options.overkill,
            "overkill_out_of_block": round(float((best.fit.scores > limit).mean()), 4),
            "lot_ratio": round(result.lot_ratio, 3),
            "synthetic_defects_found": sizes,
            "synthetic_auroc": round(best.quality, 4),
            "labelled_auroc": {key: round(value, 4) for key, value in result.labelled_auroc.items()},
            "image_ms": round(best.image_ms, 1),
            "warnings": result.warnings,
        },
    }  # fmt: skip
