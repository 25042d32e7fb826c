"""Manifest of a trained model."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from models.input_spec import InputSpec
from models.training.anomaly_fit import AnomalyFit
from models.training.graphs import IMAGE, MAP, SCORES
from models.training.package_folder import MODEL_NAME
from models.training.result import TrainingResult
from models.training.train import TrainingOptions

GOOD, DEFECTIVE = "good", "defective"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def manifest_of(result: TrainingResult, options: TrainingOptions, name: str, sha256: str) -> dict[str, Any]:
    """Return the content of ``manifest.yaml``.

    Parameters
    ----------
    name
        Name of the package; characters that a name may not have become hyphens.
    sha256
        Digest of the ONNX file.
    """
    spec, learned = result.best.extractor.spec, result.learned
    name = _NOT_IN_NAMES.sub("-", name).strip("-.")[:100] or "my-model"
    return {
        "manifest_version": 1,
        "name": name,
        "version": "1.0.0",
        "task": "anomaly_map" if learned is None else "classification",
        "file": MODEL_NAME,
        "sha256": sha256,
        "input": {
            "name": IMAGE, "width": spec.width, "height": spec.height, "colour": spec.colour, "layout": spec.layout,
            "dtype": spec.dtype, "resize": spec.resize, **_part(spec),
        },
        **(_of_anomaly(result.best.fit) if learned is None else _of_labels()),
        "decision": {"recipe_id": name, "revision": 1, "threshold": 0.5},
        "training": _training(result),
        "metrics": _metrics(result, options),
    }  # fmt: skip


def _part(spec: InputSpec) -> dict[str, Any]:
    parts = {"roi": spec.roi, "tiles": spec.tiles, "align": spec.align}
    return spec.samples.stated() | {
        name: part.model_dump(mode="json", exclude_none=True) for name, part in parts.items() if part is not None
    }


def _of_anomaly(fit: AnomalyFit) -> dict[str, Any]:
    low, high = fit.map_range
    return {
        "outputs": {"names": {"map": MAP}, "activation": "none"},
        "labels": ["anomaly"],
        "anomaly": {"score_percentile": fit.recipe.percentile, "low": low, "high": high},
    }


def _of_labels() -> dict[str, Any]:
    return {
        "outputs": {"names": {"scores": SCORES, "map": MAP}, "activation": "none"},
        "labels": [GOOD, DEFECTIVE],
        "good_label": GOOD,
    }


def _training(result: TrainingResult) -> dict[str, str]:
    learned, count = result.learned, len(result.paths)
    products = f", a map for each of {len(result.products)} products" if result.products else ""
    head = "" if learned is None else ", stacked with a logistic head on labelled images"
    is_of_pixels = result.best.fit.recipe.is_of_pixels
    has_backbone = learned is not None or not is_of_pixels
    origin = "distribution of pixels" if is_of_pixels else "PaDiM on EfficientNet-Lite0 (ImageNet weights)"
    if learned is not None and is_of_pixels:
        head += ", on EfficientNet-Lite0 (ImageNet weights)"
    data = f"{count} images of good parts"
    if learned is not None:
        data += f", {len(learned.defect_logits)} of defective parts"
    return {
        "provenance": f"inspection train: {origin}, recipe {result.best.fit.recipe.name}{products}{head}",
        "data": data,
        "split": f"limit from images outside of their block ({result.block_kind}), {len(np.unique(result.blocks))}"
        " blocks",
        "licence": "That of the images"
        + ("; the ImageNet weights of the backbone are Apache-2.0" if has_backbone else ""),
    }


def _metrics(result: TrainingResult, options: TrainingOptions) -> dict[str, Any]:
    best, defects, (rejected, judged) = result.best, result.defects, result.overkill
    metrics: dict[str, Any] = {
        "good_images": len(result.paths),
        **({"products": result.products} if result.products else {}),
        "overkill_asked": options.overkill,
        "overkill_out_of_block": round(rejected / judged, 4),
        "calibration": result.calibration,
        "synthetic_defects_found": {f"{each.kind} {each.size:.0%}": round(each.found, 3) for each in best.synthetic},
        "synthetic_auroc": round(best.quality, 4),
        "image_ms": round(best.image_ms, 1),
        "warnings": result.warnings,
    }
    if defects is not None:
        metrics["defective_images"] = len(defects.paths)
        metrics["good_only"] = defects.figures.as_json()
        if defects.head is not None:
            metrics["with_defects"] = defects.head.figures.as_json()
            metrics["escape_cost"], metrics["defect_share"] = options.escape_cost, options.defect_share
    return metrics
